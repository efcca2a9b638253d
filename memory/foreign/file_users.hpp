// SPDX-License-Identifier: Apache-2.0
// Finds the processes of this host that use a file: that have it mapped in any way, or open for
// writing. Reads /proc. Invariant: a process that might use the file but could not be examined is
// reported; it never counts as one that does not use the file.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/file_identity.hpp"
#include "memory/file_memory.hpp"

namespace migrate::memory {

// A file and its identities as seen through descriptors and through mappings, which differ on some
// file systems.
struct UsedFile {
    FileIdentity by_stat;
    FileIdentity by_maps;  // identity in /proc/PID/maps
    std::uint64_t size_bytes = 0;
    FileMemory memory = FileMemory::kOnDisk;
    std::string path;  // for messages
};
// `mapping` is this process's mapping of the file `fd`.
Result<UsedFile> describe_file(int fd, std::span<const std::byte> mapping, std::string path);

struct FileUsers {
    std::string user;    // "FILE is in use: NAME (pid PID) has it mapped"; empty if none was found
    std::string unseen;  // the process that could not be examined, and why: a clause; empty if none
    std::string hidden;  // why /proc does not show some processes at all; empty if it shows all
};

// Examines every process except this one and `owner`, until it finds a user. A process whose maps
// and descriptors cannot be examined counts as unseen if a guest may run in one of the files there:
// by its public figures its address space is large enough and it has pages of that kind. So it is
// not noticed that such a process merely holds a descriptor, or a mapping without a page. An Error
// if /proc cannot be used. Takes 0.1 to 0.3 ms per process.
Result<FileUsers> find_users(std::span<const UsedFile> files, pid_t owner);

// Returns true if a process that may not be examined can use `bytes` of a file: every user may read
// in /proc/PID/status that its address space is large enough and that it has pages of that kind.
// False for a kernel thread, and for a process that has ended.
bool may_use_memory(pid_t pid, std::uint64_t bytes, FileMemory memory);
// Returns false if /proc hides the processes of other users (hidepid in proc(5)).
bool proc_shows_all_users();
// The number that a folder's entry is named by, in /proc, /proc/PID/task and /proc/PID/fd; nothing
// for other names.
std::optional<int> number_in_proc(std::string_view name);

}  // namespace migrate::memory
