// SPDX-License-Identifier: Apache-2.0
#include "engine/send/prefaulted_pages.hpp"

namespace migrate::engine {

Result<PrefaultedPages> PrefaultedPages::create(const memory::PageSource& source) {
    std::vector<memory::PageBitmap> present;
    for (const RegionInfo& region : source.regions()) {
        MIGRATE_ASSIGN(memory::PageBitmap bitmap,
                       memory::PageBitmap::create(region.size_bytes / kPageSize));
        present.push_back(std::move(bitmap));
    }
    return PrefaultedPages(std::move(present));
}

Status PrefaultedPages::prefault(const memory::PageSource& source, RegionId region,
                                 PageRange range) {
    memory::PageBitmap& present = present_[static_cast<std::size_t>(region)];
    std::uint64_t page = present.find(range.first, range.end(), false);
    while (page < range.end()) {
        const std::uint64_t next = present.find(page, range.end(), true);
        MIGRATE_TRY(source.prefault(region, {page, next - page}));
        present.set({page, next - page});
        page = present.find(next, range.end(), false);
    }
    return {};
}

void PrefaultedPages::forget(RegionId region, PageRange range) {
    present_[static_cast<std::size_t>(region)].clear(range);
}

}  // namespace migrate::engine
