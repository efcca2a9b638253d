// Predicts how long the guest would be stopped if it were switched over now, part by part. A pure
// function of the rounds measured so far. Invariant: the parts add up to the total; each cost is in
// one part only.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/units.hpp"
#include "engine/convergence/convergence_types.hpp"

namespace migrate::engine {

// The parts of the downtime.
struct Expectation {
    Microseconds pause{};        // until no vCPU runs
    Microseconds collect{};      // the last collection of dirty pages
    Microseconds transfer{};     // the last round, until it is in place at the receiver
    Microseconds round_trips{};  // frames in transit
    Microseconds load{};
    Microseconds digest{};

    Microseconds total() const { return pause + collect + transfer + round_trips + load + digest; }
    // The smallest downtime-limit that allows this downtime. It contains a reserve of a quarter of
    // all parts but the round trips, since the time of CPUs and channels varies from round to round
    // and that of the network does not.
    Microseconds needed_limit() const;
};

class DowntimeModel {
  public:
    // Adds a round that ended. `round_trip`: the network's round trip, which the round's duration
    // contains once.
    void add(const RoundFigures& figures, Microseconds round_trip);
    // Bytes per second: the user's value if set, else the measured one; 0 before the first round.
    double bandwidth(const Tunables& tunables) const;
    // The expected downtime if the last round had to send `dirty_pages`.
    Expectation expect(std::uint64_t dirty_pages, const Tunables& tunables,
                       const FixedCosts& costs) const;

  private:
    struct Sample {
        RoundFigures figures;
        Microseconds moving;  // the round's moving_time() without the round trip
        double rate() const;
    };
    // The newest recent round that moved enough bytes to measure the channels; otherwise the
    // largest one, or carried_ if all recent rounds are small. Null before the first round.
    const Sample* rate_sample() const;
    double transfer_seconds(double bytes) const;

    std::vector<Sample> recent_;  // the last few rounds, oldest first
    // The last earlier round that was large enough to measure the channels.
    std::optional<Sample> carried_;
};

}  // namespace migrate::engine
