// SPDX-License-Identifier: Apache-2.0
// Decides after each round: another round, the switchover, or giving up. A pure function of the
// figures measured so far. Invariant: the same figures give the same decision; no clock, no thread,
// no I/O.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/enum_names.hpp"
#include "engine/convergence/convergence_types.hpp"
#include "engine/convergence/downtime_model.hpp"
#include "engine/convergence/extra_rounds.hpp"

namespace migrate::engine {

enum class Action { kNextRound, kSwitchOver, kGiveUp };
constexpr auto enum_names(Action) {
    return names_of_enum<Action>({{Action::kNextRound, "next-round"},
                                  {Action::kSwitchOver, "switchover"},
                                  {Action::kGiveUp, "give-up"}});
}

// The reason why the guest is not switched over.
enum class Obstacle {
    kNone,
    kDirtyRate,   // the guest writes faster than the channels carry
    kRoundTrips,  // from here to kPause: fixed costs, which no further round reduces
    kLoad,
    kDigest,
    kCollect,
    kPause,
    kAcknowledgement,  // the receiver has not said that it could run the guest
};
constexpr auto enum_names(Obstacle) {
    return names_of_enum<Obstacle>({{Obstacle::kNone, "none"},
                                    {Obstacle::kDirtyRate, "dirty-rate"},
                                    {Obstacle::kRoundTrips, "round-trips"},
                                    {Obstacle::kLoad, "load"},
                                    {Obstacle::kDigest, "digest"},
                                    {Obstacle::kCollect, "collect"},
                                    {Obstacle::kPause, "pause"},
                                    {Obstacle::kAcknowledgement, "acknowledgement"}});
}

struct Decision {
    Action action = Action::kNextRound;
    unsigned cpu_throttle = 0;      // percent, in force from now on
    Microseconds downtime_limit{};  // the limit in force: the user's or the raised one
    Microseconds expected_downtime{};
    // The smallest downtime-limit, in whole milliseconds, that would allow the switchover now.
    Microseconds smallest_limit{};
    double bandwidth = 0;  // bytes per second; the expectation is based on it
    bool stalled = false;
    Obstacle obstacle = Obstacle::kNone;
    // True if a round that begins at once can bring the switchover nearer.
    bool next_round_helps = true;
    // Elapsed time when the migration first stalled with no countermeasure left; empty if it has
    // not.
    std::optional<Microseconds> exhausted_at{};
    // The obstacle and its numbers, in a sentence; empty if there was none.
    std::string reason;
};

// One per migration. Keeps the figures so far and the results of earlier decisions.
class Convergence {
  public:
    explicit Convergence(bool needs_ack = false) : needs_ack_(needs_ack) {}

    // Takes the figures of the round that just ended and returns the decision. `acked`: the
    // receiver said that it could run the guest.
    Decision decide(const RoundFigures& figures, const Tunables& tunables, const FixedCosts& costs,
                    bool acked = true);

    // The expected downtime if the last round had to send `dirty_pages`.
    Microseconds expect(std::uint64_t dirty_pages, const Tunables& tunables,
                        const FixedCosts& costs) const {
        return model_.expect(dirty_pages, tunables, costs).total();
    }

    // True if that downtime would fit the limit in force.
    bool fits(std::uint64_t dirty_pages, const Tunables& tunables, const FixedCosts& costs) const {
        return model_.expect(dirty_pages, tunables, costs).needed_limit() <=
               std::max(raised_limit_, tunables.downtime_limit);
    }

  private:
    void look_for_stall(const RoundFigures& figures);
    bool throttle_harder(const RoundFigures& figures, const Tunables& tunables);
    bool raise_limit(const Tunables& tunables);
    bool take_countermeasure(const RoundFigures& figures, const Tunables& tunables, bool throttles,
                             Decision& decision);
    void conclude(const RoundFigures& figures, const Tunables& tunables, bool may_switch,
                  Decision& decision) const;
    void shorten_pause(const RoundFigures& figures, const Tunables& tunables,
                       const FixedCosts& costs, Decision& decision);

    bool needs_ack_;
    DowntimeModel model_;
    ExtraRounds extra_;
    std::uint64_t dirty_at_gain_ = UINT64_MAX;  // pages dirty after the last round that gained
    unsigned rounds_without_gain_ = 0;
    unsigned rounds_over_threshold_ = 0;
    unsigned rounds_under_threshold_ = 0;
    unsigned throttle_ = 0;
    Microseconds raised_limit_{};               // 0: the user's limit is in force
    std::optional<Microseconds> exhausted_at_;  // see Decision
};

}  // namespace migrate::engine
