// Sends rounds: tells the receiver on the main channel, lets the channels send, and with a guest
// waits until the whole round is in place. It keeps what the receiver's answers tell about its
// costs.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

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

// A round that was sent: its figures so far, and when it began and was sent.
struct SentRound {
    RoundFigures figures;
    std::chrono::steady_clock::time_point began;
    std::chrono::steady_clock::time_point sent;
    Microseconds outages_before{};  // the time without a data channel before it began
};

class RoundSender {
  public:
    // All outlive this object.
    RoundSender(SessionCore& core, PublishedSend& published, LiveControl& control, PeerLink& link,
                SendChannelGroup& channels)
        : core_(core), published_(published), control_(control), link_(link), channels_(channels) {}

    // Looks at the rounds that send() is told to watch. They outlive the last of them; either may
    // be null.
    void watch_by(const SendChannelGroup::Watches& watches) { watches_ = watches; }
    enum class Watched { kYes, kNo };
    // From ROUND_START to ROUND_END. If this side has lost channels, the round is continued until
    // all of it is on its way.
    Result<SentRound> send(std::uint32_t round, RoundPlan plan, Watched watched);
    // With a guest: waits for ROUND_DONE, so that the duration contains all of the round's time.
    Result<RoundFigures> await_done(SentRound sent);
    // The receiver has lost channels: `frame` is its first ROUND_ARRIVED or its ROUND_BROKEN.
    // Takes the other ones, and sends the pages that did not arrive.
    Status send_again(SentRound& sent, transport::Frame frame);
    // Waits for a frame of one of these types. kNotConverged names the first of them if for
    // stall-limit no frame comes from a receiver that is alive and no data in transit to it moves.
    Result<transport::Frame> expect(transport::FrameSet types);

    // The time from a frame to the receiver's answer.
    void note_answer(Microseconds time) { round_trip_.add(time); }
    Microseconds round_trip() const { return round_trip_.value(); }
    // The receiver said that it could run the guest (SWITCHOVER_ACK), and how long loading takes.
    bool acked() const { return acked_; }
    Microseconds load_time() const { return load_time_; }

  private:
    void announce(std::uint32_t round, std::uint64_t pages);
    Result<std::optional<transport::Frame>> end(SentRound& sent,
                                                const SendChannelGroup::RoundSent& moved);
    Result<ArrivedBitmaps> take_break(std::uint32_t round, transport::Frame frame);

    SessionCore& core_;
    PublishedSend& published_;
    LiveControl& control_;
    PeerLink& link_;
    SendChannelGroup& channels_;
    SendChannelGroup::Watches watches_;
    RoundTripMeter round_trip_;
    bool acked_ = false;
    Microseconds load_time_{};
};

}  // namespace migrate::engine
