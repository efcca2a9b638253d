#include "memory/foreign/still_mapped.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace migrate::memory {
namespace {

bool same_place(const ForeignMapping& one, const ForeignMapping& other) {
    return one.address == other.address && one.size == other.size &&
           one.file_offset == other.file_offset;
}

}  // namespace

Status check_still_mapped(const MemoryOwner& owner, std::span<const RegionInfo> regions) {
    if (owner.pid == 0) return {};
    MIGRATE_ASSIGN(const auto mappings, shared_file_mappings(owner.pid));
    for (std::size_t i = 0; i < regions.size(); ++i) {
        if (owner.is_private(i)) continue;
        const std::vector<ForeignMapping>& then = owner.regions[i];
        const std::vector<ForeignMapping> now = mappings_of(mappings, owner.files[i]);
        if (std::equal(then.begin(), then.end(), now.begin(), now.end(), same_place)) continue;
        return make_error("{} {} its memory '{}' since the migration began", owner.description,
                          now.empty() ? "has unmapped" : "maps other addresses of",
                          regions[i].name);
    }
    return {};
}

}  // namespace migrate::memory
