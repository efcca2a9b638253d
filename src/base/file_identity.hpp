// SPDX-License-Identifier: Apache-2.0
// Identifies a file independently of the path that leads to it: links, other names and bind mounts
// have the same identity.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.hpp"

namespace migrate {

// From stat(2); unique on a host as long as the file is open somewhere.
struct FileIdentity {
    std::uint64_t device = 0;  // dev_t
    std::uint64_t inode = 0;
    bool operator==(const FileIdentity&) const = default;
};

// Returns the identity of an open file.
Result<FileIdentity> identify(int fd);

// Identifies the host from its boot to its shutdown, in containers too: 36 characters of hex digits
// and hyphens (random(4): boot_id). Empty if it cannot be read.
std::string boot_id();

}  // namespace migrate
