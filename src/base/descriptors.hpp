// SPDX-License-Identifier: Apache-2.0
// The descriptors that this process was started with, and those that its children inherit.
// Invariant: after adopt_descriptors(), 0 to 2 are open, and programs that this one starts inherit
// no other descriptors.
#pragma once

#include <array>
#include <cstddef>

#include "base/error.hpp"

namespace migrate {

// Called first in main(). Opens /dev/null for each of 0 to 2 that is closed, so that no file or
// socket of the program gets its number; records which descriptors the program was started with;
// and hides those above 2 from programs that it starts. An Error if /dev/null cannot be opened.
Status adopt_descriptors();

// kUsage if the program was not started with an open descriptor of that number, or if it is
// standard output or standard error, where the program writes its own text. Without
// adopt_descriptors(), checks only whether it is open.
Status check_inherited(int number);

// For the child of a fork(): closes all descriptors from `first` on. Uses system calls only.
void close_descriptors_from(int first);

namespace internal {
inline constexpr int kMostKept = 8;
void keep_only(const int* kept, int count);
}  // namespace internal
// For the child of a fork(): moves these descriptors to kFirstKept, kFirstKept + 1, … and closes
// all others above 2. A -1 leaves its number closed. Uses system calls only.
inline constexpr int kFirstKept = 3;
template <std::size_t N>
void keep_only(const std::array<int, N>& kept) {
    static_assert(N <= internal::kMostKept);
    internal::keep_only(kept.data(), static_cast<int>(N));
}

}  // namespace migrate
