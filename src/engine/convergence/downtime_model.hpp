// SPDX-License-Identifier: Apache-2.0
// Predicts how long the guest would be stopped if it were switched over now, part by part. A pure
// function of the rounds measured so far. Invariant: the parts add up to the total; each cost is in
// one part only.
#pragma once

#include <cstdint>
#include <vector>

#include "base/units.hpp"
#include "engine/convergence/convergence_types.hpp"
#include "engine/convergence/transfer_model.hpp"

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
    DowntimeModel();
    // Adds a round that ended. `round_trip`: the network's round trip, which the round's duration
    // contains once.
    void add(const RoundFigures& figures, Microseconds round_trip);
    // Bytes per second in the last round: the user's value if set, else the measured one, with
    // max-bandwidth that of the rounds' tails; 0 before the first round.
    double bandwidth(const Tunables& tunables) const;
    // The expected downtime if the last round had to send `dirty_pages`.
    Expectation expect(std::uint64_t dirty_pages, const Tunables& tunables,
                       const FixedCosts& costs) const;

  private:
    double transfer_seconds(double bytes, const Tunables& tunables) const;
    double tail_seconds(double bytes) const;

    std::vector<RoundFigures> recent_;  // the last few rounds, oldest first
    TransferModel rounds_;
    TransferModel tails_;  // what the rounds sent without max-bandwidth at their ends
};

}  // namespace migrate::engine
