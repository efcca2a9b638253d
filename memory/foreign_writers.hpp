// Finds writers of a process's memory that leave no mark in its page tables, so that uffd-wp does
// not see their writes. Open files are judged by their possible use: a QEMU that has one such file
// among its disks may have guest memory written through it at any time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "memory/foreign_mapping.hpp"

namespace migrate::memory {

// The way in which I/O on an open file of a process writes that process's memory.
enum class FileAccessPath {
    kMarked,  // through its page tables: system calls, and kernel threads such as vhost-net
    kPinned,  // the kernel pins pages, which are written later: O_DIRECT, vhost-scsi, FUSE
    // An io_uring: it may read files in either way and does not tell which. QEMU 11 has one in each
    // event loop, whatever its disks use.
    kRing,
    kDevice,  // a host device writes at any time: VFIO, iommufd, vDPA
};

struct OpenFile {
    std::string_view link;        // the target of /proc/PID/fd/N
    std::uint64_t flags = 0;      // from /proc/PID/fdinfo/N
    std::string_view filesystem;  // its type in /proc/PID/mountinfo; empty if not known
};
FileAccessPath access_path_of(const OpenFile& file);

// Returns the first open file of the process that is of this kind; empty if there is none, or if
// the process may not be examined, in which case it may not be attached to either.
std::string open_file_of(pid_t pid, FileAccessPath kind);

// Returns the name of the first process, other than `owner` and this one, that has the file mapped
// for writing; empty if there is none. Processes that may not be examined are skipped.
std::string other_writer(const FileIdentity& file, pid_t owner);

// Returns why writes to the owner's memory may be missed now, as a clause; empty if none is missed.
// `said` is the owner's own answer (MemoryOwner::outside_writer). unseen_own_writes() considers
// only that answer and the owner's open files, in about a millisecond; unseen_writes() also reads
// the maps of every process.
std::string unseen_own_writes(const MemoryOwner& owner, const std::optional<std::string>& said);
std::string unseen_writes(const MemoryOwner& owner, const std::optional<std::string>& said);

}  // namespace migrate::memory
