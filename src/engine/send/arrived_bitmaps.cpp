// SPDX-License-Identifier: Apache-2.0
#include "engine/send/arrived_bitmaps.hpp"

#include "transport/arrived_pages.hpp"

namespace migrate::engine {

Result<ArrivedBitmaps> ArrivedBitmaps::create(std::span<const RegionInfo> regions) {
    ArrivedBitmaps arrived(regions);
    for (const RegionInfo& region : regions) {
        MIGRATE_ASSIGN(auto bitmap, memory::PageBitmap::create(region.pages()));
        arrived.bitmaps_.push_back(std::move(bitmap));
    }
    return arrived;
}

Status ArrivedBitmaps::add(std::uint32_t round, std::string_view body) {
    MIGRATE_ASSIGN(const transport::ArrivedPages arrived,
                   transport::decode_arrived(body, regions_));
    if (arrived.round != round) {
        return make_error(ErrorKind::kProtocol,
                          "the receiver reports pages of round {} in round {}", arrived.round,
                          round);
    }
    for (const PageRange& pages : arrived.pages) {
        if (bitmaps_[index_of(arrived.region)].set(pages) != 0) {
            return make_error(ErrorKind::kProtocol, "the receiver reports pages of region {} twice",
                              index_of(arrived.region));
        }
        pages_ += pages.count;
    }
    return {};
}

}  // namespace migrate::engine
