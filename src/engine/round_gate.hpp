// The barrier between rounds: a coordinator opens a round, every worker does its part and arrives,
// the coordinator continues. Invariant: no worker is in round k+1 before all have arrived in round
// k.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>

#include "base/mutex.hpp"

namespace migrate::engine {

class RoundGate {
  public:
    explicit RoundGate(unsigned workers) : workers_(workers) {}

    // Called by the coordinator: lets the workers begin the round.
    void open(std::uint32_t round);
    // Waits until every worker has arrived; false if stop was requested.
    bool wait_for_all(const std::stop_token& stop);
    // Tells the workers that there is no further round.
    void close();

    // Called by a worker: waits for the round after `last`. Returns nothing when the gate is closed
    // or if a stop was requested.
    std::optional<std::uint32_t> next_round(std::uint32_t last, const std::stop_token& stop);
    void arrive();

  private:
    const unsigned workers_;
    Mutex mutex_;
    StopCondition changed_;
    std::uint32_t round_ GUARDED_BY(mutex_) = 0;
    unsigned arrived_ GUARDED_BY(mutex_) = 0;
    bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace migrate::engine
