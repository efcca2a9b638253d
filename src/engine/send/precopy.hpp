// SPDX-License-Identifier: Apache-2.0
// The rounds of a live migration while its guest runs: send, collect, decide, wait. Invariant:
// after each round one decision is taken and shown, and only a decision leads to the switchover.
#pragma once

#include <cstdint>

#include "engine/convergence/convergence.hpp"
#include "engine/convergence/round_pacing.hpp"
#include "engine/send/digest_costs.hpp"
#include "engine/send/live_source.hpp"
#include "engine/send/send_parts.hpp"
#include "engine/send/stall_reporter.hpp"

namespace migrate::engine {

class Precopy {
  public:
    // All outlive this object.
    Precopy(const SendParts& parts, LiveSource& live)
        : parts_(parts),
          live_(live),
          convergence_(parts.config.switchover_ack),
          digest_(parts, live) {}

    struct Converged {
        std::uint32_t next_round = 0;
        Microseconds expected_downtime{};
        bool postcopy = false;  // the pages that are dirty then come after the handover
    };
    // Returns once it was decided to switch over. kNotConverged if it was decided to give up. Call
    // once.
    Result<Converged> run();
    // The same after a switchover that broke off.
    Result<Converged> go_on(RoundsLeft left);

  private:
    guest::Saving saving() const;
    void note_speed();
    Result<Converged> converged(Converged how);
    Result<RoundFigures> send_round(std::uint32_t round);
    RoundPlan plan_of(std::uint32_t round);
    Result<RoundFigures> finish_round(SentRound begun);
    Result<RoundFigures> end_round(SentRound sent);
    Decision decide(const RoundFigures& figures);
    FixedCosts fixed_costs() const;
    void show(const RoundFigures& figures, const Decision& decision);
    Status await_next_round(const RoundFigures& figures, const Decision& decision);

    const SendParts& parts_;
    LiveSource& live_;
    Convergence convergence_;
    bool stalled_ = false;  // as of the last decision
    RoundPacing pacing_;
    StallReporter stall_reporter_;
    bool postcopy_ = false;  // the last decision is for post-copy
    DigestCosts digest_;
};

}  // namespace migrate::engine
