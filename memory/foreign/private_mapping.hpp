// SPDX-License-Identifier: Apache-2.0
// The mappings of a range of another process's private memory, so that it can be noticed later that
// the process has other memory there. A tracker that watches these addresses, and pages that were
// read there, would be worthless then.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/file_identity.hpp"
#include "memory/foreign/process_maps.hpp"

namespace migrate::memory {

// A part of the range, as large as possible: the kernel splits mappings and merges them, for
// instance when they get another advice or a userfaultfd. Neither says anything about the content.
struct PrivateMapping {
    std::uint64_t start = 0;  // addresses in the process, within the range
    std::uint64_t end = 0;
    FileIdentity file;              // inode 0: anonymous memory
    std::uint64_t file_offset = 0;  // of `start`, in bytes; 0 for anonymous memory
    bool writable = false;
    bool operator==(const PrivateMapping&) const = default;
};

// Returns the private mappings of [start, end) by address; `all` is by address, too. Memory there
// that is shared, not readable or not mapped is left out.
std::vector<PrivateMapping> private_mappings_in(std::span<const ProcessMapping> all,
                                                std::uint64_t start, std::uint64_t end);

}  // namespace migrate::memory
