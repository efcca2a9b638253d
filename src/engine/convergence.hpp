// After each round: another one, or the switchover, or neither? A pure function of the figures
// measured so far. Invariant: the same figures give the same decision; no clock, no thread, no I/O.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/convergence_types.hpp"
#include "engine/downtime_model.hpp"

namespace migrate::engine {

enum class Action { kNextRound, kSwitchOver, kGiveUp };
std::string_view name_of(Action action);

// What keeps the expected downtime above the limit.
enum class Obstacle {
    kNone,
    kDirtyRate,   // the guest writes faster than the channels carry
    kRoundTrips,  // this and the rest: no number of rounds changes it
    kLoad,
    kDigest,
    kCollect,
    kPause,
    kAcknowledgement,  // the receiver has not said that it could run the guest
};
std::string_view name_of(Obstacle obstacle);

struct Decision {
    Action action = Action::kNextRound;
    unsigned cpu_throttle = 0;      // percent, from now on
    Microseconds downtime_limit{};  // in force: the user's, or what it was raised to
    Microseconds expected_downtime{};
    // The smallest whole millisecond of downtime-limit that would have switched over now.
    Microseconds smallest_limit{};
    double bandwidth = 0;  // bytes per second, that the expectation rests on
    bool stalled = false;
    Obstacle obstacle = Obstacle::kNone;
    // Whether a round that begins at once can bring the switchover nearer.
    bool next_round_helps = true;
    // Elapsed time when it stalled with no rung left; nothing: it has not.
    std::optional<Microseconds> out_of_rungs_at{};
    // Unless it fits: the obstacle, with the numbers, in a sentence.
    std::string reason;
};

// One per migration: the figures so far, and what was decided on them.
class Convergence {
  public:
    explicit Convergence(bool needs_ack = false) : needs_ack_(needs_ack) {}

    // The figures of the round that just ended, and what is to come of them. `acked`: the receiver
    // said that it could run the guest.
    Decision decide(const RoundFigures& figures, const Tunables& tunables, const FixedCosts& costs,
                    bool acked = true);

    // The expectation alone, for the pages that would have to go in the last round.
    Microseconds expect(std::uint64_t dirty_pages, const Tunables& tunables,
                        const FixedCosts& costs) const {
        return model_.expect(dirty_pages, tunables, costs).total();
    }

    // Whether it would fit the limit in force.
    bool fits(std::uint64_t dirty_pages, const Tunables& tunables, const FixedCosts& costs) const {
        return model_.expect(dirty_pages, tunables, costs).needed_limit() <=
               std::max(raised_limit_, tunables.downtime_limit);
    }

  private:
    void look_for_stall(const RoundFigures& figures);
    bool throttle_harder(const RoundFigures& figures, const Tunables& tunables);
    bool raise_limit(const Tunables& tunables);
    bool take_rung(const RoundFigures& figures, const Tunables& tunables, bool throttles,
                   Decision& decision);
    void conclude(const RoundFigures& figures, const Tunables& tunables, bool may_switch,
                  Decision& decision) const;

    bool needs_ack_;
    DowntimeModel model_;
    std::uint64_t dirty_at_gain_ = UINT64_MAX;  // after the last round that gained
    unsigned rounds_without_gain_ = 0;
    unsigned rounds_over_threshold_ = 0;
    unsigned rounds_under_threshold_ = 0;
    unsigned throttle_ = 0;
    Microseconds raised_limit_{};                  // 0: the user's own is in force
    std::optional<Microseconds> out_of_rungs_at_;  // elapsed when it first stalled with none left
};

}  // namespace migrate::engine
