// SPDX-License-Identifier: Apache-2.0
#include "engine/postcopy/page_sender.hpp"

#include <algorithm>

namespace migrate::engine {

using transport::PageMessage;
using transport::PageMessageKind;

namespace {

// An urgent page waits for the processor at most as long as one message takes.
constexpr std::uint64_t kStepPages = 32;

}  // namespace

Result<PageRange> PageSender::first_part(RegionId region, PageRange pages) {
    extents_.clear();
    MIGRATE_TRY(source_.population(region, pages, extents_));
    if (extents_.empty()) return make_error("the source does not know which pages it has");
    const memory::PopulationExtent& first = extents_.front();
    if (!first.populated) return first.pages;
    return PageRange{pages.first, std::min(first.pages.count, kStepPages)};
}

Status PageSender::send(PageConnection& to, RegionId region, PageRange pages) {
    extents_.clear();
    MIGRATE_TRY(source_.population(region, pages, extents_));
    for (const memory::PopulationExtent& extent : extents_) {
        MIGRATE_TRY(extent.populated ? send_populated(to, region, extent.pages)
                                     : send_zeros(to, region, extent.pages));
    }
    return {};
}

Status PageSender::send_populated(PageConnection& to, RegionId region, PageRange pages) {
    const std::byte* const memory = source_.memory(region).data();
    const auto is_zero = [&](std::uint64_t page) {
        return zeros_.is_zero(memory + page * kPageSize);
    };
    for (std::uint64_t first = pages.first; first < pages.end();) {
        const bool zero = is_zero(first);
        std::uint64_t end = first + 1;
        while (end < pages.end() && is_zero(end) == zero) ++end;
        const PageRange run{first, end - first};
        MIGRATE_TRY(zero ? send_zeros(to, region, run) : send_content(to, region, run));
        first = end;
    }
    return {};
}

Status PageSender::send_content(PageConnection& to, RegionId region, PageRange pages) {
    while (pages.count != 0) {
        const PageRange part{pages.first, std::min(pages.count, kStepPages)};
        const PageMessage message{.kind = PageMessageKind::kPages,
                                  .region = region,
                                  .count = static_cast<std::uint32_t>(part.count),
                                  .page = part.first};
        MIGRATE_TRY(to.send(
            message, source_.memory(region).subspan(part.offset_bytes(), part.size_bytes())));
        sent_.normal.fetch_add(part.count, std::memory_order_relaxed);
        pages = {part.end(), pages.count - part.count};
    }
    return {};
}

Status PageSender::send_zeros(PageConnection& to, RegionId region, PageRange pages) {
    constexpr std::uint64_t kMost = UINT32_MAX;
    while (pages.count != 0) {
        const PageRange part{pages.first, std::min(pages.count, kMost)};
        MIGRATE_TRY(to.send({.kind = PageMessageKind::kZeroPages,
                             .region = region,
                             .count = static_cast<std::uint32_t>(part.count),
                             .page = part.first}));
        sent_.zero.fetch_add(part.count, std::memory_order_relaxed);
        pages = {part.end(), pages.count - part.count};
    }
    return {};
}

}  // namespace migrate::engine
