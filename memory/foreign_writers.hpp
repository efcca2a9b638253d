// Who writes a process's memory without leaving a mark in its page tables, so that uffd-wp does not
// see it. Open files are judged by what they can be used for: a QEMU with one such file among its
// disks may have guest memory written through it at any time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "memory/file_memory.hpp"
#include "memory/foreign_mapping.hpp"

namespace migrate::memory {

// What an open file of a process can do to that process's memory.
enum class FileAccessPath {
    kMarked,  // system calls and kernel threads that go through its page tables, as vhost-net does
    kPinned,  // the kernel pins pages and they are written later: O_DIRECT, vhost-scsi, FUSE
    // An io_uring: it reads files in either way, and does not tell which. QEMU 11 has one in each
    // event loop, whatever its disks use.
    kRing,
    kDevice,  // a device of the host writes at any time: VFIO, iommufd, vDPA
};

struct OpenFile {
    std::string_view link;        // the target of /proc/PID/fd/N
    std::uint64_t flags = 0;      // those of /proc/PID/fdinfo/N
    std::string_view filesystem;  // its type in /proc/PID/mountinfo; empty: none is known
};
FileAccessPath access_path_of(const OpenFile& file);

// Names the first open file of the process that is of this kind; empty if there is none, or if the
// process may not be examined, and therefore not be attached to either.
std::string open_file_of(pid_t pid, FileAccessPath kind);

// The processes but `owner` and this one that may write a file.
struct OtherWriters {
    std::string writer;   // "NAME (pid PID)", the first that has it mapped for writing; empty: none
    std::string unknown;  // who may not be examined and may have it mapped (may_use_memory()): a
                          // clause; empty: nobody
};
OtherWriters find_other_writers(const FileIdentity& file, std::uint64_t bytes, FileMemory memory,
                                pid_t owner);

// Why writes to the owner's memory may be missed now, as a clause; empty: none is missed. `said` is
// the owner's own answer (MemoryOwner::outside_writer). The first asks the owner and its open files
// alone, in about a millisecond; the second also reads the maps of every process. A process that
// may not be examined counts as a writer, unless the owner itself says that there is none: it is
// then in `unknown`.
struct UnseenWrites {
    std::string reason;
    std::string unknown;  // as in OtherWriters
};
std::string unseen_own_writes(const MemoryOwner& owner, const std::optional<std::string>& said);
UnseenWrites unseen_writes(const MemoryOwner& owner, const std::optional<std::string>& said);

}  // namespace migrate::memory
