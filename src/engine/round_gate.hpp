// SPDX-License-Identifier: Apache-2.0
// The barrier between rounds: a coordinator opens a round, every worker does its part and arrives,
// the coordinator continues. Workers may be added while a round is open, and leave at any time.
// Invariant: no worker is in round k+1 before all that have not left have arrived in round k.
#pragma once

#include <bitset>
#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>

#include "base/limits.hpp"
#include "base/mutex.hpp"

namespace migrate::engine {

class RoundGate {
  public:
    using Clock = std::chrono::steady_clock;
    // Workers 0 … workers − 1 take part.
    explicit RoundGate(unsigned workers) : workers_(workers) {}

    // Called by the coordinator: lets the workers begin the round.
    void open(std::uint32_t round);
    // Waits until every worker has arrived or left; false if stop was requested.
    bool wait_for_all(const std::stop_token& stop);
    // The same, at most until `until`, or until interrupt() is called; false if neither all workers
    // have arrived.
    bool wait_for_all_until(const std::stop_token& stop, Clock::time_point until);
    // Ends the present or the next wait_for_all_until(). Any thread.
    void interrupt();
    // True if a worker has arrived in the open round: it found nothing left to do.
    bool any_arrived();
    // From now on `workers` take part, at least as many as before. Those that are new take part in
    // the open round too, which cannot end without them. Called by the coordinator.
    void admit(unsigned workers);
    // Tells the workers that there is no further round.
    void close();
    // Between two rounds: worker `which`, which has arrived or left, takes no part in further
    // rounds. Called by the coordinator.
    void expel(unsigned which);
    // Ends the wait of a worker that was never admitted. Once its thread has ended, forget() lets
    // another worker have its number. Called by the coordinator.
    void dismiss(unsigned which);
    void forget(unsigned which);

    // The threads of all workers so far have ended, after dismiss(): none of them takes part, in
    // the open round either. Called by the coordinator.
    void end_workers();

    // Called by a worker: waits for the round after `last`, and until worker `which` takes part.
    // Returns nothing when the gate is closed, if the worker was expelled or dismissed, or if a
    // stop was requested.
    std::optional<std::uint32_t> next_round(unsigned which, std::uint32_t last,
                                            const std::stop_token& stop);
    void arrive();
    // Called by worker `which`, whose last finished round is `last`: it takes part no more, and no
    // round waits for it.
    void leave(unsigned which, std::uint32_t last);

  private:
    bool all_arrived() const REQUIRES(mutex_) { return arrived_ + gone_.count() == workers_; }
    void remove(unsigned which, std::uint32_t last) REQUIRES(mutex_);

    Mutex mutex_;
    StopCondition changed_;
    unsigned workers_ GUARDED_BY(mutex_);
    std::uint32_t round_ GUARDED_BY(mutex_) = 0;
    unsigned arrived_ GUARDED_BY(mutex_) = 0;  // and not gone
    std::bitset<kMaxChannelIds> gone_ GUARDED_BY(mutex_);
    bool interrupted_ GUARDED_BY(mutex_) = false;
    bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace migrate::engine
