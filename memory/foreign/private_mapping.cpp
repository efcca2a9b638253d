// SPDX-License-Identifier: Apache-2.0
#include "memory/foreign/private_mapping.hpp"

#include <algorithm>

namespace migrate::memory {
namespace {

bool continues(const PrivateMapping& before, const PrivateMapping& next) {
    const bool adjacent = before.end == next.start && before.writable == next.writable;
    if (!adjacent || before.file != next.file) return false;
    return before.file.inode == 0 ||
           before.file_offset + (before.end - before.start) == next.file_offset;
}

}  // namespace

std::vector<PrivateMapping> private_mappings_in(std::span<const ProcessMapping> all,
                                                std::uint64_t start, std::uint64_t end) {
    std::vector<PrivateMapping> found;
    for (const ProcessMapping& mapping : all) {
        if (mapping.end <= start || mapping.start >= end) continue;
        if (mapping.shared || !mapping.readable) continue;
        const std::uint64_t first = std::max(mapping.start, start);
        PrivateMapping part{.start = first,
                            .end = std::min(mapping.end, end),
                            .file = mapping.file,
                            .file_offset = 0,
                            .writable = mapping.writable};
        if (part.file.inode != 0) part.file_offset = mapping.file_offset + (first - mapping.start);
        if (!found.empty() && continues(found.back(), part)) {
            found.back().end = part.end;
        } else {
            found.push_back(part);
        }
    }
    return found;
}

}  // namespace migrate::memory
