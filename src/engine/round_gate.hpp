// The barrier between rounds: a coordinator opens a round, every worker does its part and arrives,
// the coordinator continues. Workers may be added while a round is open. Invariant: no worker is in
// round k+1 before all have arrived in round k.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>

#include "base/mutex.hpp"

namespace migrate::engine {

class RoundGate {
  public:
    using Clock = std::chrono::steady_clock;
    // Workers 0 … workers − 1 take part.
    explicit RoundGate(unsigned workers) : workers_(workers) {}

    // Called by the coordinator: lets the workers begin the round.
    void open(std::uint32_t round);
    // Waits until every worker has arrived; false if stop was requested.
    bool wait_for_all(const std::stop_token& stop);
    // Waits until every worker has arrived, at most until `until`; false if none of both has come.
    bool wait_for_all_until(const std::stop_token& stop, Clock::time_point until);
    // True if a worker has arrived in the open round: it found nothing left to do.
    bool any_arrived();
    // From now on `workers` take part, at least as many as before. Those that are new take part in
    // the open round too, which cannot end without them. Called by the coordinator.
    void admit(unsigned workers);
    // Tells the workers that there is no further round.
    void close();

    // Called by a worker: waits for the round after `last`, and until worker `which` takes part.
    // Returns nothing when the gate is closed or if a stop was requested.
    std::optional<std::uint32_t> next_round(unsigned which, std::uint32_t last,
                                            const std::stop_token& stop);
    void arrive();

  private:
    Mutex mutex_;
    StopCondition changed_;
    unsigned workers_ GUARDED_BY(mutex_);
    std::uint32_t round_ GUARDED_BY(mutex_) = 0;
    unsigned arrived_ GUARDED_BY(mutex_) = 0;
    bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace migrate::engine
