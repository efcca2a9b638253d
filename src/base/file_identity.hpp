// Which file it is, whatever path leads to it: links, other names and bind mounts give the same
// answer.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.hpp"

namespace migrate {

// By stat(2); unique on a host as long as the file is open somewhere.
struct FileIdentity {
    std::uint64_t device = 0;  // dev_t
    std::uint64_t inode = 0;
    bool operator==(const FileIdentity&) const = default;
};

// Of an open file.
Result<FileIdentity> identify(int fd);

// Names the host from its start to its end, in containers too: 36 characters of hex digits and
// hyphens (random(4): boot_id). Empty if it cannot be read.
std::string boot_id();

}  // namespace migrate
