// After each round: another one, or the switchover, or neither? A pure function of the figures
// measured so far. Invariant: the same figures give the same decision; no clock, no thread, no I/O.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.hpp"

namespace migrate::engine {

using Microseconds = std::chrono::microseconds;

enum class OnDeadline { kSwitch, kCancel };

// What the user may change while the migration runs; QEMU's names and units where it has them.
struct Tunables {
    std::uint64_t max_bandwidth = 0;               // bytes per second, 0: no limit
    std::uint64_t avail_switchover_bandwidth = 0;  // bytes per second, 0: as measured
    Microseconds downtime_limit{300'000};
    Microseconds max_downtime{};  // how far the limit may be raised; 0: not at all
    bool auto_converge = false;
    unsigned throttle_trigger_threshold = 50;  // percent of the bytes sent that were dirtied again
    unsigned cpu_throttle_initial = 20;        // percent
    unsigned cpu_throttle_increment = 10;
    unsigned max_cpu_throttle = 99;
    Microseconds deadline{};  // of the whole migration; 0: none
    OnDeadline on_deadline = OnDeadline::kCancel;
    Microseconds stall_limit{};  // how long it may stall with no rung left; 0: for ever
};

// One round as it was measured, with what was dirty after it.
struct RoundFigures {
    std::uint32_t round = 0;
    std::uint64_t pages = 0;         // of its plan
    std::uint64_t normal_pages = 0;  // of them, those that went with content
    std::uint64_t bytes = 0;         // on the wire
    Microseconds duration{};         // from its start to the receiver's word that all is in place
    Microseconds collect_time{};     // of asking what is dirty, afterwards
    std::uint64_t dirty_pages = 0;   // since it began
    Microseconds elapsed{};          // since the migration became active, up to its end

    double bytes_per_second() const;
    double dirty_pages_per_second() const;
};

// What stops the guest beside the last round, as far as it is known.
struct FixedCosts {
    Microseconds round_trip{};  // of the network; the switchover needs three of them
    Microseconds load{};        // loading and resuming at the receiver, by its own word
    Microseconds digest{};      // of all memory, where verify=digest
};

enum class Action { kNextRound, kSwitchOver, kGiveUp };
std::string_view name_of(Action action);

struct Decision {
    Action action = Action::kNextRound;
    unsigned cpu_throttle = 0;      // percent, from now on
    Microseconds downtime_limit{};  // in force: the user's, or what it was raised to
    Microseconds expected_downtime{};
    double bandwidth = 0;  // bytes per second, that the expectation rests on
    bool stalled = false;
    // Unless it fits: what is the matter, with the numbers, in a sentence.
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
                        const FixedCosts& costs) const;

  private:
    double bandwidth(const Tunables& tunables) const;
    void look_for_stall(const RoundFigures& figures);
    bool throttle_harder(const RoundFigures& figures, const Tunables& tunables);
    bool raise_limit(const Tunables& tunables);
    std::string explain(const RoundFigures& figures, const Tunables& tunables,
                        const Decision& decision) const;

    bool needs_ack_;
    std::vector<RoundFigures> recent_;          // the last few rounds
    std::uint64_t dirty_at_gain_ = UINT64_MAX;  // after the last round that gained
    unsigned rounds_without_gain_ = 0;
    unsigned rounds_over_threshold_ = 0;
    unsigned rounds_under_threshold_ = 0;
    unsigned throttle_ = 0;
    Microseconds raised_limit_{};       // 0: the user's own is in force
    Microseconds out_of_rungs_at_{-1};  // elapsed when it first stalled with no rung left
};

}  // namespace migrate::engine
