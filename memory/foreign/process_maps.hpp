// SPDX-License-Identifier: Apache-2.0
// The mappings of another process, as /proc/PID/maps lists them (proc(5)).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/file_identity.hpp"

namespace migrate::memory {

struct ProcessMapping {
    std::uint64_t start = 0;  // addresses in the process
    std::uint64_t end = 0;
    bool readable = false;
    bool writable = false;
    bool shared = false;
    std::uint64_t file_offset = 0;  // bytes
    FileIdentity file;              // inode 0: anonymous memory
    std::string path;               // " (deleted)" included; empty if none
};

// Parses one line; nothing if it is not one.
std::optional<ProcessMapping> parse_mapping(const std::string& line);

// Returns all mappings by address. An Error if the process is gone or may not be examined.
Result<std::vector<ProcessMapping>> process_mappings(pid_t pid);

// Opens the file through one of the process's own descriptors, which also works for a file without
// a name; nothing if none of them leads to it or may be used. `flags` as in open(2).
UniqueFd open_by_process(pid_t pid, const FileIdentity& file, int flags);

// Opens the file behind a mapping, whether or not it has a name. `flags` as in open(2).
// /proc/PID/map_files needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE. Without it the descriptors of
// the process and the mapping's path are tried. An Error if none leads to the file.
Result<UniqueFd> open_mapped_file(pid_t pid, const ProcessMapping& mapping, int flags);

}  // namespace migrate::memory
