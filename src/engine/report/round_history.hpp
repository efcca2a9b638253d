// SPDX-License-Identifier: Apache-2.0
// The rounds of a live migration, as reports keep them: the first, the last, and the sums of the
// rounds between. Invariant: the kept rounds and the sums add up to all rounds; the memory is
// bounded, however many rounds there are.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/convergence/convergence.hpp"

namespace migrate::engine {

struct RoundReport {
    RoundFigures figures;
    Decision decision;  // the decision based on the figures
};

// Sums over rounds.
struct RoundTotals {
    std::uint64_t rounds = 0;
    std::uint64_t pages = 0;
    std::uint64_t normal_pages = 0;
    std::uint64_t postponed_pages = 0;
    std::uint64_t bytes = 0;
    Microseconds duration{};
    Microseconds collect_time{};

    void add(const RoundFigures& figures);
};

class RoundHistory {
  public:
    static constexpr std::size_t kFirst = 32;
    static constexpr std::size_t kLast = 64;

    void push_back(RoundReport round);
    void clear() { *this = {}; }

    bool empty() const { return size() == 0; }
    // Number of all rounds, including those left out.
    std::uint64_t size() const { return kept_.size() + left_out_.rounds; }
    const RoundReport& back() const { return kept_[newest_]; }
    RoundReport& back() { return kept_[newest_]; }
    // Sums of the rounds left out, which come right after the first kFirst.
    const RoundTotals& left_out() const { return left_out_; }
    // The kept rounds, in order.
    std::vector<const RoundReport*> kept() const;

  private:
    std::vector<RoundReport> kept_;  // the first kFirst, then a ring of kLast
    std::size_t newest_ = 0;
    RoundTotals left_out_;
};

}  // namespace migrate::engine
