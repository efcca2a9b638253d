#include "engine/convergence.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace migrate::engine {
namespace {

// Rounds that the bandwidth is taken from: what was long ago says little.
constexpr std::size_t kRecentRounds = 4;
// A round that leaves more than this share of what the last gain left has gained nothing …
constexpr double kGain = 0.9;
// … and that so often in a row is a stall. Small gains add up: 6 % a round is none.
constexpr unsigned kStallRounds = 2;
// As in QEMU: one round over the threshold may be chance.
constexpr unsigned kThrottleRounds = 2;
// Pausing the guest takes one page's write, and its threads must get a CPU to see it.
constexpr Microseconds kPauseCost{1000};
constexpr int kSwitchoverRoundTrips = 3;  // the last round's end, LOADED, DONE
// The last round and its noise may take a quarter longer than expected and still keep the limit.
constexpr double kMargin = 1.25;

Microseconds micros(double seconds) {
    // Beyond an hour it makes no difference how long.
    return Microseconds(static_cast<std::int64_t>(std::min(seconds, 3600.0) * 1e6));
}

double seconds(Microseconds time) { return static_cast<double>(time.count()) / 1e6; }

// Not in integers: no number of pages wraps around to few bytes.
double bytes_of(std::uint64_t pages) {
    return static_cast<double>(pages) * static_cast<double>(kPageSize);
}

double mib(double bytes) { return bytes / static_cast<double>(kMiB); }

}  // namespace

std::string_view name_of(Action action) {
    switch (action) {
        case Action::kNextRound:
            return "next-round";
        case Action::kSwitchOver:
            return "switchover";
        case Action::kGiveUp:
            return "give-up";
    }
    return "next-round";
}

double RoundFigures::bytes_per_second() const {
    return duration.count() > 0 ? static_cast<double>(bytes) / seconds(duration) : 0;
}

double RoundFigures::dirty_pages_per_second() const {
    // The guest writes on while it is asked what it wrote.
    const Microseconds time = duration + collect_time;
    return time.count() > 0 ? static_cast<double>(dirty_pages) / seconds(time) : 0;
}

// That of the recent round that moved most: small rounds measure their own overhead.
double Convergence::bandwidth(const Tunables& tunables) const {
    if (tunables.avail_switchover_bandwidth != 0) {
        return static_cast<double>(tunables.avail_switchover_bandwidth);
    }
    const auto largest =
        std::max_element(recent_.begin(), recent_.end(),
                         [](const auto& a, const auto& b) { return a.bytes < b.bytes; });
    return largest == recent_.end() ? 0 : largest->bytes_per_second();
}

Microseconds Convergence::expect(std::uint64_t dirty_pages, const Tunables& tunables,
                                 const FixedCosts& costs) const {
    // The longest: to go on until one happens to be short is to count on luck in the last round.
    Microseconds collect_time{};
    for (const RoundFigures& round : recent_) {
        collect_time = std::max(collect_time, round.collect_time);
    }
    // Compressed pages weigh less than they hold. Every dirty page may have content.
    double weight = 1;
    for (const RoundFigures& round : recent_) {
        if (round.normal_pages == 0) continue;
        weight = std::min(1.0, static_cast<double>(round.bytes) / bytes_of(round.normal_pages));
    }
    // What was written behind the back of a collect that takes long goes in the last round, too.
    const double late =
        recent_.empty() ? 0 : recent_.back().dirty_pages_per_second() * seconds(collect_time);
    const double bytes = (bytes_of(dirty_pages) + late * kPageSize) * weight;
    const double rate = bandwidth(tunables);
    const double transfer = bytes == 0 ? 0 : rate > 0 ? bytes / rate : 3600;
    return micros(transfer) + kPauseCost + collect_time + kSwitchoverRoundTrips * costs.round_trip +
           costs.load + costs.digest;
}

void Convergence::look_for_stall(const RoundFigures& figures) {
    const bool gained =
        dirty_at_gain_ == UINT64_MAX ||
        static_cast<double>(figures.dirty_pages) < kGain * static_cast<double>(dirty_at_gain_);
    if (gained) dirty_at_gain_ = figures.dirty_pages;
    rounds_without_gain_ = gained ? 0 : rounds_without_gain_ + 1;
}

// Whether throttling harder is a rung that is left: taken just now, or soon if the guest goes on
// writing too much. Beneath the threshold it never is taken, and other means have to do.
bool Convergence::throttle_harder(const RoundFigures& figures, const Tunables& tunables) {
    const double dirtied = bytes_of(figures.dirty_pages);
    const double allowed =
        static_cast<double>(figures.bytes) * tunables.throttle_trigger_threshold / 100;
    rounds_over_threshold_ = dirtied > allowed ? rounds_over_threshold_ + 1 : 0;
    const unsigned harder = throttle_ == 0 ? tunables.cpu_throttle_initial
                                           : throttle_ + tunables.cpu_throttle_increment;
    const unsigned next = std::min(harder, tunables.max_cpu_throttle);
    rounds_under_threshold_ = dirtied > allowed ? 0 : rounds_under_threshold_ + 1;
    if (next <= throttle_ || rounds_under_threshold_ >= kThrottleRounds) return false;
    if (rounds_over_threshold_ >= kThrottleRounds) {
        rounds_over_threshold_ = 0;
        throttle_ = next;
    }
    return true;
}

// False if it is as high as it may be.
bool Convergence::raise_limit(const Tunables& tunables) {
    const Microseconds now = std::max(raised_limit_, tunables.downtime_limit);
    if (now >= tunables.max_downtime) return false;
    // By half of it each time.
    raised_limit_ =
        now + std::min(std::max(now / 2, Microseconds(1000)), tunables.max_downtime - now);
    return true;
}

std::string Convergence::explain(const RoundFigures& figures, const Tunables& tunables,
                                 const Decision& decision) const {
    std::string text = fmt::format(
        "the guest dirties {:.0f} MiB/s and the channels carry {:.0f} MiB/s: after round {} "
        "{:.0f} MiB are left, for which it would stand still {} ms; downtime-limit is {} ms",
        mib(figures.dirty_pages_per_second() * static_cast<double>(kPageSize)),
        mib(decision.bandwidth), figures.round, mib(bytes_of(figures.dirty_pages)),
        decision.expected_downtime.count() / 1000, decision.downtime_limit.count() / 1000);
    if (throttle_ != 0) text += fmt::format(", its CPUs are throttled by {} %", throttle_);
    if (!tunables.auto_converge) text += "; auto-converge is off";
    return text;
}

Decision Convergence::decide(const RoundFigures& figures, const Tunables& tunables,
                             const FixedCosts& costs, bool acked) {
    if (recent_.size() == kRecentRounds) recent_.erase(recent_.begin());
    recent_.push_back(figures);
    look_for_stall(figures);
    // What the user takes back is no longer in force.
    raised_limit_ = std::min(raised_limit_, tunables.max_downtime);
    bool throttles = false;
    if (tunables.auto_converge) {
        throttles = throttle_harder(figures, tunables);
    } else {
        throttle_ = 0;
        rounds_over_threshold_ = 0;
    }

    Decision decision;
    decision.bandwidth = bandwidth(tunables);
    decision.expected_downtime = expect(figures.dirty_pages, tunables, costs);
    decision.downtime_limit = std::max(raised_limit_, tunables.downtime_limit);
    const bool may_switch = acked || !needs_ack_;
    const auto fits = [&] {
        return seconds(decision.expected_downtime) * kMargin <= seconds(decision.downtime_limit);
    };
    // What fits and only waits for the receiver is no stall: no rung would help.
    decision.stalled = !fits() && rounds_without_gain_ >= kStallRounds;
    const bool late = tunables.deadline.count() != 0 && figures.elapsed >= tunables.deadline;

    if (decision.stalled && !late) {
        if (throttles || raise_limit(tunables)) {
            out_of_rungs_at_ = Microseconds(-1);
            decision.downtime_limit = std::max(raised_limit_, tunables.downtime_limit);
        } else if (out_of_rungs_at_.count() < 0) {
            out_of_rungs_at_ = figures.elapsed;
        }
    } else {
        out_of_rungs_at_ = Microseconds(-1);
    }
    decision.cpu_throttle = throttle_;

    if (decision.stalled || !fits()) decision.reason = explain(figures, tunables, decision);
    if (fits() && may_switch) {
        decision.action = Action::kSwitchOver;
    } else if (late) {
        decision.action = tunables.on_deadline == OnDeadline::kSwitch && may_switch
                              ? Action::kSwitchOver
                              : Action::kGiveUp;
        decision.reason =
            fmt::format("the deadline of {} ms has passed: {}", tunables.deadline.count() / 1000,
                        explain(figures, tunables, decision));
    } else if (decision.stalled) {
        const bool over = tunables.stall_limit.count() != 0 && out_of_rungs_at_.count() >= 0 &&
                          figures.elapsed - out_of_rungs_at_ >= tunables.stall_limit;
        if (over) {
            decision.action = Action::kGiveUp;
            decision.reason = fmt::format(
                "the migration does not converge and has no means left "
                "for {} ms (stall-limit): {}",
                tunables.stall_limit.count() / 1000, decision.reason);
        }
    }
    return decision;
}

}  // namespace migrate::engine
