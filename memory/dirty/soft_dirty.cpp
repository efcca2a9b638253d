// SPDX-License-Identifier: Apache-2.0
#include "memory/dirty/soft_dirty.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/config/choices.hpp"
#include "base/fd.hpp"

namespace migrate::memory {
namespace {

// Returns true if a page that was just written carries the bit, as on any kernel that has the bit.
// Clearing is not tried: it would erase the marks of another observer of this process.
Result<bool> kernel_marks_writes() {
    constexpr std::uint64_t kSoftDirty = std::uint64_t{1} << 55;  // admin-guide/mm/pagemap.rst
    MIGRATE_ASSIGN(const Mapping scratch, Mapping::create({.size = kPageSize,
                                                           .protection = PROT_READ | PROT_WRITE,
                                                           .flags = MAP_PRIVATE | MAP_ANONYMOUS,
                                                           .what = "memory to try it on"}));
    scratch.data()[0] = std::byte{1};
    const UniqueFd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    if (!pagemap) return Error::system("open /proc/self/pagemap", errno);
    std::uint64_t entry = 0;
    const auto index = reinterpret_cast<std::uintptr_t>(scratch.data()) / kPageSize;
    const auto offset = static_cast<off_t>(index * sizeof entry);
    if (::pread(pagemap.get(), &entry, sizeof entry, offset) != sizeof entry) {
        return Error::system("read /proc/self/pagemap", errno);
    }
    return (entry & kSoftDirty) != 0;
}

}  // namespace

DirtyTrackerSupport probe_soft_dirty() {
    DirtyTrackerSupport support{
        .name = std::string(name_of(TrackerName::kSoftDirty)), .usable = false, .detail = {}};
    const Result<bool> marks = kernel_marks_writes();
    if (!marks) {
        support.detail = marks.error().message();
        return support;
    }
    support.detail = fmt::format(
        "{} marks are read and cleared in two steps, which loses a page that a running guest "
        "writes "
        "between the two",
        *marks ? "this kernel has them, but the"
               : "this kernel was built without CONFIG_MEM_SOFT_DIRTY, and even with it the");
    return support;
}

}  // namespace migrate::memory
