// SPDX-License-Identifier: Apache-2.0
#include "engine/report/round_history.hpp"

#include <utility>

namespace migrate::engine {

void RoundTotals::add(const RoundFigures& figures) {
    rounds += 1;
    pages += figures.pages;
    normal_pages += figures.normal_pages;
    postponed_pages += figures.postponed_pages;
    bytes += figures.bytes;
    duration += figures.duration;
    collect_time += figures.collect_time;
}

void RoundHistory::push_back(RoundReport round) {
    if (kept_.size() < kFirst + kLast) {
        kept_.push_back(std::move(round));
        newest_ = kept_.size() - 1;
        return;
    }
    newest_ = newest_ + 1 == kept_.size() ? kFirst : newest_ + 1;
    left_out_.add(kept_[newest_].figures);
    kept_[newest_] = std::move(round);
}

std::vector<const RoundReport*> RoundHistory::kept() const {
    std::vector<const RoundReport*> rounds;
    rounds.reserve(kept_.size());
    const bool is_ring = left_out_.rounds != 0;
    for (std::size_t i = 0; i < kept_.size(); ++i) {
        std::size_t at = i;
        if (is_ring && i >= kFirst) at = kFirst + (newest_ - kFirst + 1 + i - kFirst) % kLast;
        rounds.push_back(&kept_[at]);
    }
    return rounds;
}

}  // namespace migrate::engine
