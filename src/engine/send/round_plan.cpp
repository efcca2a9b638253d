#include "engine/send/round_plan.hpp"

#include <algorithm>

namespace migrate::engine {
namespace {

WorkCursor::Work work_of(RoundPlan::Bitmaps arrived) {
    return arrived.empty() ? WorkCursor::Work::kWhole : WorkCursor::Work::kRests;
}

}  // namespace

std::uint64_t PlannedPages::next_planned(std::uint64_t page, std::uint64_t end) const {
    while (page < end) {
        const std::uint64_t candidate = written != nullptr ? written->find(page, end, true) : page;
        page = arrived != nullptr ? arrived->find(candidate, end, false) : candidate;
        if (page == candidate) return page;
    }
    return end;
}

std::uint64_t PlannedPages::next_unplanned(std::uint64_t page, std::uint64_t end) const {
    if (written != nullptr) end = written->find(page, end, false);
    return arrived != nullptr ? arrived->find(page, end, true) : end;
}

RoundPlan::RoundPlan(std::span<const RegionInfo> regions, unsigned workers, Bitmaps written,
                     Bitmaps given_back, Bitmaps arrived)
    : regions_(regions),
      workers_(workers),
      written_(written),
      given_back_(given_back),
      arrived_(arrived),
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
    return {regions, workers, {}, {}, {}};
}

RoundPlan RoundPlan::written(std::span<const RegionInfo> regions, unsigned workers, Bitmaps pages,
                             Bitmaps given_back) {
    return {regions, workers, pages, given_back, {}};
}

RoundPlan RoundPlan::without(Bitmaps arrived) const {
    return {regions_, workers_, written_, given_back_, arrived};
}

PlannedPages RoundPlan::pages_of(RegionId region) const {
    const std::size_t index = index_of(region);
    const auto bitmap = [index](Bitmaps bitmaps) {
        return bitmaps.empty() ? nullptr : &bitmaps[index];
    };
    return {bitmap(written_), bitmap(given_back_), bitmap(arrived_)};
}

std::uint64_t RoundPlan::count() const {
    std::uint64_t pages = 0;
    for (std::size_t i = 0; i < regions_.size(); ++i) {
        const std::uint64_t end = regions_[i].pages();
        const PlannedPages planned = pages_of(RegionId{static_cast<std::uint16_t>(i)});
        if (planned.arrived == nullptr) {
            pages += planned.written != nullptr ? planned.written->count({0, end}) : end;
            continue;
        }
        std::uint64_t page = planned.next_planned(0, end);
        while (page < end) {
            const std::uint64_t next = planned.next_unplanned(page, end);
            pages += next - page;
            page = planned.next_planned(next, end);
        }
    }
    return pages;
}

}  // namespace migrate::engine
