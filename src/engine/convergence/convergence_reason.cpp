// SPDX-License-Identifier: Apache-2.0
#include "engine/convergence/convergence_reason.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace migrate::engine {
namespace {

std::string mib_text(double bytes) {
    const double mib = bytes / static_cast<double>(kMiB);
    return mib < 10 ? fmt::format("{:.1f} MiB", mib) : fmt::format("{:.0f} MiB", mib);
}

std::string ms_text(Microseconds time) {
    const double ms = static_cast<double>(time.count()) / 1000;
    return ms < 10 ? fmt::format("{:.1f} ms", ms) : fmt::format("{} ms", time.count() / 1000);
}

double bytes_of(std::uint64_t pages) {
    return static_cast<double>(pages) * static_cast<double>(kPageSize);
}

// Returns the longest of the parts that no further round shortens.
Obstacle largest_fixed_part(const Expectation& expected) {
    using Part = std::pair<Microseconds, Obstacle>;
    const std::array parts{
        Part{expected.round_trips, Obstacle::kRoundTrips}, Part{expected.load, Obstacle::kLoad},
        Part{expected.digest, Obstacle::kDigest}, Part{expected.collect, Obstacle::kCollect},
        Part{expected.pause, Obstacle::kPause}};
    return std::max_element(parts.begin(), parts.end(),
                            [](const Part& a, const Part& b) { return a.first < b.first; })
        ->second;
}

std::string_view headline(Obstacle obstacle) {
    switch (obstacle) {
        case Obstacle::kRoundTrips:
            return "the round trips to the receiver take too long for downtime-limit";
        case Obstacle::kLoad:
            return "loading the guest at the receiver takes too long for downtime-limit";
        case Obstacle::kDigest:
            return "the digest of all memory (verify=digest) takes too long for downtime-limit";
        case Obstacle::kCollect:
            return "asking what the guest wrote takes too long for downtime-limit";
        default:
            return "pausing and resuming a guest takes longer than downtime-limit";
    }
}

// Lists everything that a stopped guest would wait for.
std::string parts_text(const FixedCosts& costs, const Expectation& expected) {
    std::string text = fmt::format("{:.1f} round trips of {} take {}", costs.round_trips,
                                   ms_text(costs.round_trip), ms_text(expected.round_trips));
    const auto add = [&](std::string_view name, Microseconds time) {
        if (time.count() != 0) text += fmt::format(", {} {}", name, ms_text(time));
    };
    add("digest", expected.digest);
    add("loading", expected.load);
    add("collecting", expected.collect);
    add("pausing", expected.pause);
    add("the last round", expected.transfer);
    return text;
}

}  // namespace

Obstacle find_obstacle(const Expectation& expected, const Expectation& least, Microseconds limit) {
    if (expected.needed_limit() <= limit) return Obstacle::kNone;
    return least.needed_limit() <= limit ? Obstacle::kDirtyRate : largest_fixed_part(least);
}

std::string explain(Obstacle obstacle, const RoundFigures& figures, const Tunables& tunables,
                    const FixedCosts& costs, const Expectation& expected,
                    const Decision& decision) {
    if (obstacle == Obstacle::kAcknowledgement) {
        return "the receiver has not acknowledged that it can run the guest (switchover-ack)";
    }
    const std::string limits =
        fmt::format("downtime-limit is {}; the smallest that would work now is {} ms",
                    ms_text(decision.downtime_limit), decision.smallest_limit.count() / 1000);
    if (obstacle != Obstacle::kDirtyRate) {
        return fmt::format(
            "{}: the guest would be paused for {} ({}), and further rounds cannot "
            "shorten that; {}",
            headline(obstacle), ms_text(decision.expected_downtime), parts_text(costs, expected),
            limits);
    }
    // The rounds keep max-bandwidth, and only the last one does not.
    const auto most = static_cast<double>(tunables.max_bandwidth);
    const bool limited = tunables.max_bandwidth != 0 && decision.bandwidth > most;
    std::string text = fmt::format(
        "the guest dirties {}/s and {} {}/s: after round {} {} are left, for which "
        "it would be paused for {} ({}); {}",
        mib_text(figures.dirty_pages_per_second() * static_cast<double>(kPageSize)),
        limited ? "max-bandwidth is" : "the channels carry",
        mib_text(limited ? most : decision.bandwidth), figures.round,
        mib_text(bytes_of(figures.dirty_pages)), ms_text(decision.expected_downtime),
        parts_text(costs, expected), limits);
    if (decision.cpu_throttle != 0) {
        text += fmt::format(", its CPUs are throttled by {} %", decision.cpu_throttle);
    }
    if (!tunables.auto_converge) text += "; auto-converge is off";
    return text;
}

}  // namespace migrate::engine
