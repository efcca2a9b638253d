// How long the guest would stand still if it were switched over now, part by part. A pure function
// of the rounds measured so far. Invariant: the parts add up to the total; each cost is in one part
// only.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/units.hpp"
#include "engine/convergence_types.hpp"

namespace migrate::engine {

// What a stopped guest waits for.
struct Expectation {
    Microseconds pause{};        // until no vCPU runs
    Microseconds collect{};      // asking what it wrote, once more
    Microseconds transfer{};     // the last round, in place at the receiver
    Microseconds round_trips{};  // frames under way
    Microseconds load{};
    Microseconds digest{};

    Microseconds total() const { return pause + collect + transfer + round_trips + load + digest; }
    // The smallest downtime-limit that allows it: a quarter of all but the round trips is reserve,
    // since what CPUs and channels take varies from round to round; the way does not.
    Microseconds needed_limit() const;
};

class DowntimeModel {
  public:
    // A round that ended. `round_trip`: the network's, which its duration contains once.
    void add(const RoundFigures& figures, Microseconds round_trip);
    // Bytes per second; the user's own where stated; 0 before the first round.
    double bandwidth(const Tunables& tunables) const;
    // `dirty_pages` would have to go in the last round.
    Expectation expect(std::uint64_t dirty_pages, const Tunables& tunables,
                       const FixedCosts& costs) const;

  private:
    struct Sample {
        RoundFigures figures;
        Microseconds moving;  // its duration without the round trip
        double rate() const;
    };
    const Sample* largest() const;
    double transfer_seconds(double bytes) const;

    std::vector<Sample> recent_;     // the last few rounds
    std::optional<Sample> carried_;  // the last round before them that moved much
};

}  // namespace migrate::engine
