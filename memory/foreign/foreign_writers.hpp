// SPDX-License-Identifier: Apache-2.0
// Finds writers of a process's memory that leave no mark in its page tables, so that uffd-wp does
// not see their writes. Open files are judged by their possible use: a QEMU that has one such file
// among its disks may have guest memory written through it at any time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "memory/file_memory.hpp"
#include "memory/foreign/foreign_mapping.hpp"

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

// Returns the first open file of the process for each kind that is not kMarked; empty if there is
// none, or if the process may not be examined, in which case it may not be attached to either.
std::map<FileAccessPath, std::string> unmarked_files_of(pid_t pid);
// Returns that of one kind, or an empty text.
std::string open_file_of(pid_t pid, FileAccessPath kind);

// The processes other than `owner` and this one that may write a file.
struct OtherWriters {
    std::string writer;   // "NAME (pid PID)", the first that has it mapped for writing, or empty
    std::string unknown;  // a clause that names those that may not be examined and may have it
                          // mapped (may_use_memory()), or empty
};
OtherWriters find_other_writers(const FileIdentity& file, std::uint64_t bytes, FileMemory memory,
                                pid_t owner);

// Why writes to the owner's memory may be missed now. `said` is the owner's own answer
// (MemoryOwner::outside_writer). unseen_own_writes() considers only that answer and the owner's
// open files, in about a millisecond; unseen_writes() also reads the maps of every process. A
// process that may not be examined counts as a writer, unless the owner itself says that there is
// none: it is then in `unknown`.
struct UnseenWrites {
    std::string reason;   // a clause; empty if no write is missed
    std::string unknown;  // the same as in OtherWriters
};
std::string unseen_own_writes(const MemoryOwner& owner, const std::optional<std::string>& said);
UnseenWrites unseen_writes(const MemoryOwner& owner, const std::optional<std::string>& said);

}  // namespace migrate::memory
