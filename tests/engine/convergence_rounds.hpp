// SPDX-License-Identifier: Apache-2.0
// A migration round by round, as the tests of its decisions see it.
#pragma once

#include <string>
#include <string_view>

#include "catch.hpp"
#include "engine/convergence/convergence.hpp"

namespace migrate::engine {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr std::uint64_t kRate = 100 * kMiB;  // bytes per second
inline constexpr std::uint64_t kPagesPerSecond = kRate / kPageSize;
inline constexpr std::uint64_t kStuck =
    kPagesPerSecond;  // a second's worth is dirty again and again

// A migration whose channels carry kRate, round by round.
struct Rounds {
    explicit Rounds(bool needs_ack = false) : convergence(needs_ack) {}

    // A round of a second, after which so many pages are dirty.
    RoundFigures next(std::uint64_t dirty_pages) {
        figures.round += 1;
        figures.pages = kPagesPerSecond;
        figures.normal_pages = kPagesPerSecond;
        figures.bytes = kRate;
        figures.duration = seconds(1);
        figures.dirty_pages = dirty_pages;
        figures.elapsed += seconds(1);
        return figures;
    }
    Decision after(std::uint64_t dirty_pages, bool acked = true) {
        return convergence.decide(next(dirty_pages), tunables, costs, acked);
    }
    // The last decision of so many rounds that gain nothing.
    Decision stuck_for(int rounds) {
        Decision decision;
        for (int i = 0; i < rounds; ++i) decision = after(kStuck);
        return decision;
    }

    Convergence convergence;
    Tunables tunables;
    FixedCosts costs;
    RoundFigures figures;
};

inline bool has(const std::string& text, std::string_view part) {
    UNSCOPED_INFO(text);
    return text.find(part) != std::string::npos;
}

}  // namespace migrate::engine
