// SPDX-License-Identifier: Apache-2.0
// Checks on the CPU whether a page is zero: one kernel per instruction set, chosen at run time.
// Invariant: a kernel is returned only if this CPU runs it, and "scalar" always is.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace migrate::accel {

struct ZeroKernel {
    std::string_view name;  // the name in the option zero-kernel
    int priority = 0;       // "auto" takes the highest that this CPU runs
    bool (*supported)() = nullptr;
    // Returns true if the kPageSize bytes at `page`, which is aligned to kPageSize, are all zero.
    // Reads little more than the first cache line of a page whose first line is not zero.
    bool (*is_zero)(const std::byte* page) = nullptr;
};

// Every kernel of this build, the highest priority first; the last is "scalar".
std::span<const ZeroKernel> all_zero_kernels();
// Returns the kernels that this CPU runs, in the same order; never empty.
std::vector<const ZeroKernel*> runnable_zero_kernels();
// `name` is "auto" or a kernel's name. kUsage, listing the kernels that this CPU runs, for any
// other name or a kernel that it cannot run.
Result<const ZeroKernel*> find_zero_kernel(std::string_view name);

}  // namespace migrate::accel
