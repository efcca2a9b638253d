// Which processes of this host use a file: have it mapped, in whatever way, or open for writing.
// Reads /proc. Invariant: a process that could not be examined, and might use the file, is told of;
// it never counts as one that does not.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/file_identity.hpp"
#include "memory/file_memory.hpp"

namespace migrate::memory {

// A file as others' descriptors and mappings tell of it, which differ on some file systems.
struct UsedFile {
    FileIdentity by_stat;
    FileIdentity by_maps;  // in /proc/PID/maps
    std::uint64_t size_bytes = 0;
    FileMemory memory = FileMemory::kOnDisk;
    std::string path;  // for messages
};
// `mapping` is this process's, of the file `fd`.
Result<UsedFile> describe_file(int fd, std::span<const std::byte> mapping, std::string path);

struct FileUsers {
    std::string user;    // "FILE is in use: NAME (pid PID) has it mapped"; empty: none was found
    std::string unseen;  // what could not be examined, and why: a clause; empty: nothing
    std::string hidden;  // processes that /proc does not show at all, and why; empty: none
};

// Looks at every process but this one and `owner`, until a user is found. A process of which
// neither maps nor descriptors may be examined counts as unseen if a guest may run in one of the
// files there: by what everybody is told, its address space is large enough, and it has pages of
// that kind. That it merely holds a descriptor, or a mapping without a page, is then not seen. An
// Error if /proc cannot be used. Takes 0.1 to 0.3 ms a process.
Result<FileUsers> find_users(std::span<const UsedFile> files, pid_t owner);

// Whether a process that may not be examined can use so many bytes of a file, by what everybody is
// told of it: its address space is large enough, and it has pages of that kind. False of a kernel
// thread, and of a process that has ended.
bool may_use_memory(pid_t pid, std::uint64_t bytes, FileMemory memory);
// Whether /proc shows the processes of other users at all (hidepid in proc(5)).
bool proc_shows_all_users();

}  // namespace migrate::memory
