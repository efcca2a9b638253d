// SPDX-License-Identifier: Apache-2.0
// Receives what the sender sends after READY: rounds, the switchover and device state, up to
// COMPLETE, in the order that transport/sequence allows. Invariant: a round is confirmed only when
// all of its pages are in place.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/peer_link.hpp"
#include "engine/postcopy/recv_postcopy.hpp"
#include "engine/recv/guest_arrival.hpp"
#include "engine/recv/recv_channel_group.hpp"
#include "engine/recv/recv_devices.hpp"
#include "engine/recv/recv_figures.hpp"
#include "engine/recv/reuse_answers.hpp"
#include "engine/session_core.hpp"
#include "memory/sink/page_placer.hpp"
#include "memory/sink/page_sink.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {

// The parts of a receiving session that its phases share. All outlive the phase.
struct RecvParts {
    SessionCore& core;
    PublishedRecv& published;
    PeerLink& link;
    RecvChannelGroup& channels;
    memory::PagePlacer& placer;
    const memory::PageSink& sink;
    RecvDevices& devices;
    GuestArrival& arrival;
    const transport::Offer& offer;
    // Takes further channels, up to this number; returns how many there are then.
    std::function<Result<transport::ChannelCount>(const transport::ChannelCount&)> add_channels;
    ReuseAnswers& reuse;
    RecvPostcopy& postcopy;
    // The main channel was lost: waits for the sender, and tells it where this side is.
    std::function<Result<transport::Resume>(const transport::Resumed&)> rejoin;
};

class RecvRounds {
  public:
    explicit RecvRounds(const RecvParts& parts) : parts_(parts) {}

    // Returns the sender's COMPLETE. Its totals, and its digests if they were agreed on, are those
    // of this side. From then on the session survives the loss of the main channel, if the sides
    // agreed on that. Called again if the sender has come back to its rounds.
    Result<transport::Completion> run();

    // The steps that the guest has taken here after COMPLETE.
    struct Ending {
        bool loaded = false;
        bool handed_over = false;  // HANDOVER came
    };
    // The main channel was lost: waits for the sender and tells it where this side is. Returns
    // where the sender is. If it still has its guest, this side is back in the rounds.
    Result<transport::Resume> rejoin(const Ending& ending);

  private:
    Result<transport::Completion> follow();
    Status begin_switchover(const transport::PauseTime& time);
    Status undo_switchover();
    Status continue_round();
    Status receive_round(const transport::RoundMark& start);
    Result<transport::RoundMark> receive_part();
    Result<transport::RoundMark> await_round_end();
    Status await_continuation();
    Status confirm(const transport::RoundMark& mark);
    Status compare(const transport::Completion& completion);
    Status compute_digests();
    Status compare_digests(const transport::Completion& completion);

    const RecvParts& parts_;
    std::uint32_t round_ = 0;     // the last round that began
    bool open_ = false;           // it has not ended
    bool switches_over_ = false;  // SWITCHOVER_START came: the round after it is the last
    // Channels that were lost, and that ROUND_BROKEN has not named, or that the sender may not
    // know.
    std::vector<transport::LostChannel> unreported_;
    std::vector<std::string> digests_;
};

}  // namespace migrate::engine
