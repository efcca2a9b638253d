// SPDX-License-Identifier: Apache-2.0
// Sends rounds: announces each on the main channel, lets the data channels send it, and with a
// guest waits until the receiver has all of it. Keeps the times that the receiver's answers tell:
// the round trip and the load time.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "engine/convergence/convergence_types.hpp"
#include "engine/peer_link.hpp"
#include "engine/round_trip_meter.hpp"
#include "engine/send/arrived_bitmaps.hpp"
#include "engine/send/live_control.hpp"
#include "engine/send/round_plan.hpp"
#include "engine/send/send_channel_group.hpp"
#include "engine/send/send_figures.hpp"
#include "engine/session_core.hpp"

namespace migrate::engine {

// A round that was sent, but not yet confirmed.
struct SentRound {
    RoundFigures figures;
    std::chrono::steady_clock::time_point began;
    std::chrono::steady_clock::time_point sent;  // the time of the last ROUND_END
    Microseconds outages_before{};  // sum of the session's outages before the round began
    std::optional<transport::PacerBurst> tail{};  // that was sent without max-bandwidth
    bool complete = false;  // the receiver has said, on another connection, that it has all
};

// The rounds that are left after a switchover that broke off.
struct RoundsLeft {
    std::uint32_t round = 0;           // the next one
    std::optional<SentRound> begun{};  // set if that was begun in the switchover
};

class RoundSender {
  public:
    // All outlive this object.
    RoundSender(SessionCore& core, PublishedSend& published, LiveControl& control, PeerLink& link,
                SendChannelGroup& channels)
        : core_(core), published_(published), control_(control), link_(link), channels_(channels) {}

    // The watches of the rounds before the switchover. They outlive the last round; either may be
    // null.
    void watch_by(const SendChannelGroup::Watches& watches) { watches_ = watches; }
    // Sends a round, from ROUND_START to ROUND_END. If this side has lost channels, continues the
    // round until all of it was sent on channels that still exist.
    Result<SentRound> send(std::uint32_t round, RoundPlan plan);

    // The effect of a lost connection in the switchover: it ends the session, or the switchover
    // breaks off.
    enum class OnLoss : std::uint8_t { kFail, kBreakOff };
    // The guest is about to be paused, and `round` follows. From now on no channel is added or
    // replaced. kLostConnection if a connection was lost before.
    Status begin_switchover(std::uint32_t round, OnLoss on_loss);
    // Sends the last round, as send(). kLostConnection if a connection was lost.
    Result<SentRound> send_last(RoundPlan plan);
    // True if this error is the loss of a connection, after which the switchover breaks off.
    bool breaks_off(const Error& error) const;
    // The guest runs here again: the connections are given up, and the next send() or
    // continue_round() makes them again. kPeer or kRefused if the receiver says why it fails.
    Result<RoundsLeft> return_to_precopy();
    // With a guest: waits for ROUND_DONE, so the duration includes the time that the receiver needs
    // to place the pages. Continues the round if the receiver has lost channels.
    Result<RoundFigures> await_done(SentRound sent);
    // The receiver's answer after ROUND_END shows that the round goes on: it is its first
    // ROUND_ARRIVED or its ROUND_BROKEN, or the error of a main channel that was lost and that the
    // session survives. Sends the pages that did not arrive; returns when all of them were sent, or
    // are in place. Another error is returned.
    using Answer = Result<std::optional<transport::Frame>>;
    Status continue_round(SentRound& sent, Answer answer);
    // The guest is handed over next, after this last round: from now on the session survives the
    // loss of the main channel, if the sides agreed on that.
    void prepare_handover(const SentRound& last);
    // After prepare_handover(): sends HANDOVER, again if it got lost, and waits for the receiver's
    // answer, DONE. `paused`: when the guest was paused. The receiver's FAILURE is an Error of the
    // session.
    Result<transport::Frame> hand_over(std::chrono::steady_clock::time_point paused);
    // The body of a frame that is sent now and tells when the guest was paused.
    std::string pause_time(std::chrono::steady_clock::time_point paused) const;
    // True if a channel was lost, and the receiver has not yet reported what arrived on it: only a
    // round can repair that.
    bool is_interrupted() const { return link_.lost() || !channels_.losses().unsettled().empty(); }
    // Waits for a frame of one of these types. kNotConverged, with the first type, if the receiver
    // is alive, but for stall-limit sends no frame and takes no data in transit.
    Result<transport::Frame> expect(transport::FrameSet types);

    // The time from a frame to the receiver's answer.
    void note_answer(Microseconds time) { round_trip_.add(time); }
    Microseconds round_trip() const { return round_trip_.value(); }
    // SWITCHOVER_ACK came: the receiver can run the guest, and has told how long loading takes.
    bool acked() const { return acked_; }
    Microseconds load_time() const { return load_time_; }

  private:
    void announce(std::uint32_t round, std::uint64_t pages);
    Result<SentRound> begin(std::uint32_t round, const RoundPlan& plan);
    Status start(const transport::RoundMark& mark);
    bool repairs(const Error& lost) const;
    Answer end(SentRound& sent);
    Answer continue_broken(SentRound& sent, transport::Frame frame);
    Status rejoin(SentRound& sent);
    void measure(SentRound& sent) const;
    void note_load(const transport::LoadTime& time);
    Result<ArrivedBitmaps> await_arrived(std::uint32_t round, transport::Frame frame);

    SessionCore& core_;
    PublishedSend& published_;
    LiveControl& control_;
    PeerLink& link_;
    SendChannelGroup& channels_;
    SendChannelGroup::Watches watches_;
    // Set in a switchover.
    struct Switching {
        std::uint32_t round = 0;
        OnLoss on_loss = OnLoss::kFail;
        std::optional<SentRound> begun;
    };
    std::optional<Switching> switching_;
    RoundTripMeter round_trip_;
    bool acked_ = false;
    Microseconds load_time_{};
};

}  // namespace migrate::engine
