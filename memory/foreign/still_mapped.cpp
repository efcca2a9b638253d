// SPDX-License-Identifier: Apache-2.0
#include "memory/foreign/still_mapped.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "memory/foreign/process_maps.hpp"

namespace migrate::memory {
namespace {

bool same_place(const ForeignMapping& one, const ForeignMapping& other) {
    return one.address == other.address && one.size == other.size &&
           one.file_offset == other.file_offset;
}

Status check_private(const MemoryOwner& owner, std::size_t region, const std::string& name,
                     std::span<const ProcessMapping> mappings) {
    if (region >= owner.private_mappings.size()) return {};
    const std::vector<PrivateMapping>& then = owner.private_mappings[region];
    if (then.empty()) return {};
    const auto now = private_mappings_in(mappings, then.front().start, then.back().end);
    if (now == then) return {};
    return make_error("{} has {} at the address of its memory '{}' since the migration began",
                      owner.description, now.empty() ? "no private memory" : "other memory", name);
}

}  // namespace

Status check_still_mapped(const MemoryOwner& owner, std::span<const RegionInfo> regions) {
    if (owner.pid == 0) return {};
    MIGRATE_ASSIGN(const std::vector<ProcessMapping> all, process_mappings(owner.pid));
    const std::vector<SharedFileMapping> shared = shared_file_mappings(all);
    for (std::size_t i = 0; i < regions.size(); ++i) {
        if (owner.is_private(i)) {
            MIGRATE_TRY(check_private(owner, i, regions[i].name, all));
            continue;
        }
        const std::vector<ForeignMapping>& then = owner.regions[i];
        const std::vector<ForeignMapping> now = mappings_of(shared, owner.files[i]);
        if (std::equal(then.begin(), then.end(), now.begin(), now.end(), same_place)) continue;
        return make_error("{} {} its memory '{}' since the migration began", owner.description,
                          now.empty() ? "has unmapped" : "maps other addresses of",
                          regions[i].name);
    }
    return {};
}

}  // namespace migrate::memory
