// Who writes a process's memory without leaving a mark in its page tables, so that uffd-wp does not
// see it. Open files are judged by what they can be used for, and not by what they are: a QEMU with
// one such file among its disks may have guest memory written through it at any time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "memory/foreign_mapping.hpp"

namespace migrate::memory {

// What an open file of a process can do to that process's memory.
enum class FileAccessPath {
    kMarked,  // system calls and kernel threads that go through its page tables, as vhost-net does
    kPinned,  // the kernel pins pages and they are written later: O_DIRECT, io_uring, vhost-scsi
    kDevice,  // a device of the host writes at any time: VFIO, iommufd, vDPA
};
// `link` is what /proc/PID/fd/N points to, `flags` those of /proc/PID/fdinfo/N.
FileAccessPath access_path_of(std::string_view link, std::uint64_t flags);

// Names the first open file of the process that is of this kind; empty if there is none, or if it
// may not be looked at, and so not be attached to either.
std::string open_file_of(pid_t pid, FileAccessPath kind);

// Names the first process but `owner` and this one that has the file mapped for writing; empty if
// there is none. Processes that may not be looked at count as none.
std::string other_writer(const FileIdentity& file, pid_t owner);

// Why writes to the owner's memory may be missed now, as a clause; empty: none is.
std::string unseen_writes(const MemoryOwner& owner);

}  // namespace migrate::memory
