// SPDX-License-Identifier: Apache-2.0
// Memory for copies of pages, which begins at a page. malloc() puts large blocks 16 bytes behind
// one, and there a copy of pages takes five times as long on some CPUs: `rep movsb`, which memcpy()
// and the kernel use, is slow on AMD Zen 3 where the destination's place in its 4 KiB is 1 to 31
// bytes behind the source's (measured: 110 ms per GiB, and 540 ms).
#pragma once

#include <cstddef>
#include <new>
#include <vector>

#include "base/units.hpp"

namespace migrate {

template <typename T>
struct PageAlignedAllocator {
    using value_type = T;

    PageAlignedAllocator() = default;
    template <typename Other>
    explicit PageAlignedAllocator(const PageAlignedAllocator<Other>&) {}

    T* allocate(std::size_t count) {
        return static_cast<T*>(::operator new(count * sizeof(T), kAlignment));
    }
    void deallocate(T* memory, std::size_t) { ::operator delete(memory, kAlignment); }
    bool operator==(const PageAlignedAllocator&) const { return true; }

  private:
    static constexpr std::align_val_t kAlignment{kPageSize};
};

using PageBuffer = std::vector<std::byte, PageAlignedAllocator<std::byte>>;

}  // namespace migrate
