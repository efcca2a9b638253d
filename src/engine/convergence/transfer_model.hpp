// SPDX-License-Identifier: Apache-2.0
// Predicts how long pages take until they are in place at the receiver, from the transfers that
// were measured so far. A pure function of them. Invariant: more bytes never take less time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/convergence/convergence_types.hpp"

namespace migrate::engine {

class TransferModel {
  public:
    // `good_sample`: bytes from which on a transfer measures the channels well.
    explicit TransferModel(std::uint64_t good_sample) : good_sample_(good_sample) {}

    // Adds a transfer that ended. `time`: until it was in place, with the round trip that told so.
    void add(std::uint64_t bytes, Microseconds time, Microseconds round_trip);
    // Bytes per second; 0 before the first transfer.
    double rate() const;
    // The slower one of the last two transfers that measured the channels well; rate() if there are
    // fewer.
    double cautious_rate() const;
    // Bytes of the transfer that rate() is of.
    std::uint64_t measured_bytes() const;
    // The expected time without the round trip, in seconds; kLongestSeconds if nothing is known.
    double seconds(double bytes) const;

    // Upper bound of an expected time: beyond an hour the exact time makes no difference.
    static constexpr double kLongestSeconds = 3600;

  private:
    struct Sample {
        std::uint64_t bytes;
        Microseconds time;  // without the round trip
        double rate() const;
    };
    // The newest recent transfer that moved enough bytes to measure the channels; otherwise the
    // largest one, or carried_ if all recent ones are small. Null before the first transfer.
    const Sample* rate_sample() const;

    std::uint64_t good_sample_;
    std::vector<Sample> recent_;  // the last few, oldest first
    // The last earlier transfer that was large enough to measure the channels.
    std::optional<Sample> carried_;
};

}  // namespace migrate::engine
