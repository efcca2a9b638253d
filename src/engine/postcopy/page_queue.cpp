// SPDX-License-Identifier: Apache-2.0
#include "engine/postcopy/page_queue.hpp"

#include <algorithm>

namespace migrate::engine {

Result<std::unique_ptr<PageQueue>> PageQueue::create(std::span<const RegionInfo> regions) {
    std::vector<memory::PageBitmap> pending;
    for (const RegionInfo& region : regions) {
        MIGRATE_ASSIGN(memory::PageBitmap bitmap, memory::PageBitmap::create(region.pages()));
        pending.push_back(std::move(bitmap));
    }
    return std::unique_ptr<PageQueue>(new PageQueue(regions, std::move(pending)));
}

std::uint64_t PageQueue::add(RegionId region, PageRange pages) {
    const MutexLock lock(mutex_);
    const std::uint64_t added = pages.count - pending_[index_of(region)].set(pages);
    pages_ += added;
    return added;
}

std::vector<PageRange> PageQueue::absent(RegionId region, PageRange pages) const {
    const MutexLock lock(mutex_);
    const memory::PageBitmap& bitmap = pending_[index_of(region)];
    std::vector<PageRange> runs;
    std::uint64_t page = bitmap.find(pages.first, pages.end(), false);
    while (page < pages.end()) {
        const std::uint64_t end = bitmap.find(page, pages.end(), true);
        runs.push_back({page, end - page});
        page = bitmap.find(end, pages.end(), false);
    }
    return runs;
}

std::uint64_t PageQueue::pages() const {
    const MutexLock lock(mutex_);
    return pages_;
}

void PageQueue::clear() {
    const MutexLock lock(mutex_);
    for (memory::PageBitmap& bitmap : pending_) bitmap.reset();
    pages_ = 0;
}

bool PageQueue::take_urgent(RegionId region, std::uint64_t page) {
    const MutexLock lock(mutex_);
    if (pending_[index_of(region)].clear({page, 1}) == 0) return false;
    --pages_;
    region_ = index_of(region);
    page_ = page + 1;
    return true;
}

std::optional<PageQueue::Span> PageQueue::find(std::size_t region, std::uint64_t from,
                                               std::uint64_t most) const {
    const std::uint64_t size = regions_[region].pages();
    const std::uint64_t first = pending_[region].find(from, size, true);
    if (first >= size) return std::nullopt;
    const std::uint64_t limit = size - first > most ? first + most : size;
    const std::uint64_t end = pending_[region].find(first, limit, false);
    return Span{RegionId{static_cast<std::uint16_t>(region)}, {first, end - first}};
}

std::optional<PageQueue::Span> PageQueue::next(std::uint64_t most) const {
    const MutexLock lock(mutex_);
    if (pages_ == 0) return std::nullopt;
    if (const auto span = find(region_, page_, most)) return span;
    // From the beginning of each region, this one last: what is before the cursor.
    for (std::size_t i = 1; i <= regions_.size(); ++i) {
        if (const auto span = find((region_ + i) % regions_.size(), 0, most)) return span;
    }
    return std::nullopt;
}

std::uint64_t PageQueue::take(RegionId region, PageRange pages) {
    const MutexLock lock(mutex_);
    memory::PageBitmap& bitmap = pending_[index_of(region)];
    const std::uint64_t end = bitmap.find(pages.first, pages.end(), false);
    const PageRange taken{pages.first, end - pages.first};
    if (taken.count == 0) return 0;
    bitmap.clear(taken);
    pages_ -= taken.count;
    // A page that was wanted meanwhile has moved the cursor elsewhere, where it stays.
    if (region_ == index_of(region) && page_ <= taken.first) page_ = taken.end();
    return taken.count;
}

}  // namespace migrate::engine
