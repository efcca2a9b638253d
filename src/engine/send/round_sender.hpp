// Sends rounds: announces each on the main channel, lets the data channels send it, and with a
// guest waits until the receiver has all of it. Keeps the times that the receiver's answers tell:
// the round trip and the load time.
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

// A round that was sent, but not yet confirmed.
struct SentRound {
    RoundFigures figures;
    std::chrono::steady_clock::time_point began;
    std::chrono::steady_clock::time_point sent;  // the time of the last ROUND_END
    Microseconds outages_before{};  // sum of the session's outages before the round began
    bool complete = false;          // the receiver has said, on another connection, that it has all
};

class RoundSender {
  public:
    // All outlive this object.
    RoundSender(SessionCore& core, PublishedSend& published, LiveControl& control, PeerLink& link,
                SendChannelGroup& channels)
        : core_(core), published_(published), control_(control), link_(link), channels_(channels) {}

    // The watches of the rounds that are sent with Watched::kYes. They outlive the last round;
    // either may be null.
    void watch_by(const SendChannelGroup::Watches& watches) { watches_ = watches; }
    enum class Watched { kYes, kNo };
    // Sends a round, from ROUND_START to ROUND_END. If this side has lost channels, continues the
    // round until all of it was sent on channels that still exist.
    Result<SentRound> send(std::uint32_t round, RoundPlan plan, Watched watched);
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
    // answer, DONE. The receiver's FAILURE is an Error of the session.
    Result<transport::Frame> hand_over();
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
    Status start(const transport::RoundMark& mark, Watched watched);
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
    RoundTripMeter round_trip_;
    bool acked_ = false;
    Microseconds load_time_{};
};

}  // namespace migrate::engine
