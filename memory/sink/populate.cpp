// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/populate.hpp"

#include <sys/mman.h>

#include <cerrno>

#include "base/units.hpp"

namespace migrate::memory {
namespace {

// Tried on memory that lacks nothing: EINVAL is then the word of a kernel that does not know the
// advice.
bool kernel_knows(int advice) {
    void* page =
        ::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return true;
    const bool known = ::madvise(page, kPageSize, advice) == 0 || errno != EINVAL;
    ::munmap(page, kPageSize);
    return known;
}

}  // namespace

int populate(std::span<std::byte> memory, PopulateFor purpose) {
    if (memory.empty()) return 0;
    const int advice = purpose == PopulateFor::kReading ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
    while (::madvise(memory.data(), memory.size(), advice) != 0) {
        // Pages that were populated before the interruption stay, so repeated calls make progress.
        if (errno == EAGAIN || errno == EINTR) continue;
        const int code = errno;
        return code == EINVAL && !kernel_knows(advice) ? 0 : code;
    }
    return 0;
}

}  // namespace migrate::memory
