// SPDX-License-Identifier: Apache-2.0
#include "engine/send/round_plan.hpp"

#include <algorithm>
#include <utility>

namespace migrate::engine {
namespace {

// About so many planned pages are looked at before they are sent: enough for whole packets.
constexpr std::uint64_t kPagesPerPart = 512;

WorkCursor::Work work_of(RoundPlan::Bitmaps arrived) {
    return arrived.empty() ? WorkCursor::Work::kWhole : WorkCursor::Work::kRests;
}

}  // namespace

std::uint64_t PlannedPages::next_planned(std::uint64_t page, std::uint64_t end) const {
    while (page < end) {
        const std::uint64_t candidate = written != nullptr ? written->find(page, end, true) : page;
        page = arrived != nullptr ? arrived->find(candidate, end, false) : candidate;
        if (postponed != nullptr) page = postponed->find(page, end, false);
        if (page == candidate) return page;
    }
    return end;
}

std::uint64_t PlannedPages::next_unplanned(std::uint64_t page, std::uint64_t end) const {
    if (written != nullptr) end = written->find(page, end, false);
    if (arrived != nullptr) end = arrived->find(page, end, true);
    return postponed != nullptr ? postponed->find(page, end, true) : end;
}

std::uint64_t PlannedPages::count(PageRange range) const {
    const bool some_left_out =
        arrived != nullptr || (postponed != nullptr && postponed->count(range) != 0);
    if (!some_left_out) return written != nullptr ? written->count(range) : range.count;
    std::uint64_t pages = 0;
    std::uint64_t page = next_planned(range.first, range.end());
    while (page < range.end()) {
        const std::uint64_t next = next_unplanned(page, range.end());
        pages += next - page;
        page = next_planned(next, range.end());
    }
    return pages;
}

RoundPlan::RoundPlan(std::span<const RegionInfo> regions, unsigned workers, Bitmaps written,
                     Bitmaps given_back, Bitmaps arrived, const Postponing& postponing)
    : regions_(regions),
      workers_(workers),
      written_(written),
      given_back_(given_back),
      arrived_(arrived),
      postponing_(postponing),
      pages_(count()) {
    cursors_.push_back(std::make_unique<WorkCursor>(regions, workers, work_of(arrived)));
}

void RoundPlan::divide(std::span<const unsigned> group_of, unsigned groups) {
    cursors_.clear();
    for (unsigned group = 0; group < groups; ++group) {
        std::vector<bool> wanted;
        for (const unsigned of : group_of) wanted.push_back(of == group);
        cursors_.push_back(
            std::make_unique<WorkCursor>(regions_, workers_, wanted, work_of(arrived_)));
    }
}

std::optional<WorkSpan> RoundPlan::claim(unsigned group) const {
    for (std::size_t i = 0; i < cursors_.size(); ++i) {
        if (auto span = cursors_[(group + i) % cursors_.size()]->claim()) return span;
    }
    return std::nullopt;
}

RoundPlan RoundPlan::all(std::span<const RegionInfo> regions, unsigned workers) {
    return {regions, workers, {}, {}, {}, {}};
}

RoundPlan RoundPlan::written(std::span<const RegionInfo> regions, unsigned workers, Bitmaps pages,
                             Bitmaps given_back) {
    return {regions, workers, pages, given_back, {}, {}};
}

RoundPlan RoundPlan::without(Bitmaps arrived) const {
    return {regions_, workers_, written_, given_back_, arrived, postponing_};
}

RoundPlan RoundPlan::postponing(WrittenAgain& finder,
                                std::span<memory::PageBitmap> postponed) const {
    return {regions_, workers_, written_, given_back_, arrived_, {&finder, postponed}};
}

Result<RoundPlan::Part> RoundPlan::next_part(const WorkSpan& rest) const {
    if (postponing_.finder == nullptr) return Part{rest.pages};
    Part part{{rest.pages.first, 0}};
    std::uint64_t to_send = 0;
    while (part.pages.end() < rest.pages.end() && to_send < kPagesPerPart) {
        const std::uint64_t first = part.pages.end();
        const std::uint64_t next = (first / kPagesPerHugePage + 1) * kPagesPerHugePage;
        const PageRange unit{first, std::min(next, rest.pages.end()) - first};
        const std::uint64_t planned = pages_of(rest.region).count(unit);
        MIGRATE_ASSIGN(const std::uint64_t postponed, postpone(rest.region, unit, planned));
        to_send += planned - postponed;
        part.postponed += postponed;
        part.pages.count += unit.count;
    }
    return part;
}

// Returns the number of the unit's `planned` pages that are not planned any more.
Result<std::uint64_t> RoundPlan::postpone(RegionId region, PageRange unit,
                                          std::uint64_t planned) const {
    if (planned == 0) return 0;
    const PlannedPages pages = pages_of(region);
    const std::uint64_t first = pages.next_planned(unit.first, unit.end());
    const std::uint64_t end = pages.next_unplanned(first, unit.end());
    // Often all of them are in one run.
    const PageRange looked{first, (end - first == planned ? end : unit.end()) - first};
    MIGRATE_TRY(postponing_.finder->find(region, looked, postponing_.pages[index_of(region)]));
    return planned - pages.count(unit);
}

PlannedPages RoundPlan::pages_of(RegionId region) const {
    const std::size_t index = index_of(region);
    const auto bitmap = [index](Bitmaps bitmaps) {
        return bitmaps.empty() ? nullptr : &bitmaps[index];
    };
    return {bitmap(written_), bitmap(given_back_), bitmap(arrived_), bitmap(postponing_.pages)};
}

std::uint64_t RoundPlan::count() const {
    std::uint64_t pages = 0;
    for (std::size_t i = 0; i < regions_.size(); ++i) {
        const std::uint64_t end = regions_[i].pages();
        pages += pages_of(RegionId{static_cast<std::uint16_t>(i)}).count({0, end});
    }
    return pages;
}

}  // namespace migrate::engine
