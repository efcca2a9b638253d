// SPDX-License-Identifier: Apache-2.0
// The switchover of a guest: run() follows PROTOCOL.md's sequence from the pause to HANDOVER. If a
// connection is lost before that, the guest runs on here at once. Invariant: if there is any sign
// that the guest ran after its pause, HANDOVER is not sent.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/send/downtime_clock.hpp"
#include "engine/send/live_source.hpp"
#include "engine/send/send_parts.hpp"

namespace migrate::engine {

class Switchover {
  public:
    // All outlive this object. `round`: number of the last round. `expected`: the downtime that the
    // decision to switch over is based on.
    Switchover(const SendParts& parts, LiveSource& live, std::uint32_t round, Microseconds expected)
        : parts_(parts), live_(live), round_(round), expected_(expected) {}

    // Call once. Returns nothing when the guest runs at the receiver, or the rounds that are left
    // when connections were lost and the guest runs on here.
    Result<std::optional<RoundsLeft>> run();

  private:
    // The receiver has loaded the guest.
    struct Loaded {
        SentRound last;
        RoundFigures figures;
        transport::Completion completion;
    };
    PostcopySource* postcopy() const { return parts_.postcopy.source(); }
    Result<Loaded> move();
    Status hand_over(const Loaded& loaded);
    Result<RoundsLeft> break_off(const Error& lost);
    Status pause_guest();
    Result<SentRound> send_last_round();
    Status send_device_frames();
    Result<Microseconds> await_loaded();
    void publish(const transport::Done& done, RoundFigures figures, Microseconds before);

    const SendParts& parts_;
    LiveSource& live_;
    std::uint32_t round_;
    Microseconds expected_;
    DowntimeClock clock_;
    bool paused_ = false;
};

}  // namespace migrate::engine
