// SPDX-License-Identifier: Apache-2.0
// The data channels of one connection: N sockets, a thread for each, and the gate between rounds.
// Channels may be added while a round runs, and may be lost.
// A group can be shut down while its session goes on, and a new one made for the same session.
// Invariant: run() returns only when every channel has sent its part and its SYNC, or was lost.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/cancellation.hpp"
#include "base/thread.hpp"
#include "engine/channel_list.hpp"
#include "engine/channel_losses.hpp"
#include "engine/checksum_choice.hpp"
#include "engine/report/report.hpp"
#include "engine/round_gate.hpp"
#include "engine/send/channel_placement.hpp"
#include "engine/send/legacy_feed.hpp"
#include "engine/send/paths.hpp"
#include "engine/send/round_plan.hpp"
#include "engine/send/scanner_set.hpp"
#include "engine/send/send_channel.hpp"
#include "engine/send/sent_pages.hpp"
#include "engine/send/zero_copy_choice.hpp"
#include "engine/session_config.hpp"
#include "transport/control_messages.hpp"
#include "transport/pacer.hpp"
#include "transport/socket.hpp"

namespace migrate::engine {

// Looks at a round from time to time while it runs. Called by the session's thread.
class RoundWatch {
  public:
    RoundWatch() = default;
    RoundWatch(const RoundWatch&) = delete;
    RoundWatch& operator=(const RoundWatch&) = delete;
    virtual ~RoundWatch() = default;

    // The round begins.
    virtual void begin() = 0;
    // The time of the next look(); nothing: never.
    virtual std::optional<RoundGate::Clock::time_point> next_look() const = 0;
    // An Error ends the round.
    virtual Status look() = 0;
};

// Replaces the channels that were lost while a round runs, the main channel too.
class LossWatch : public RoundWatch {
  public:
    // ROUND_START of this round is sent next.
    virtual void in_round(const transport::RoundMark& mark) = 0;
    // The main channel was lost: returns when there is one again, and where the receiver is. It has
    // begun the round of in_round(). The data channels are lost.
    virtual Result<transport::Resumed> rejoin() = 0;
    // The last round is in place, and the guest is handed over next: from now on the main channel
    // may be lost until DONE has come, and rejoin() says that the guest belongs to the receiver.
    virtual void hand_over(const transport::RoundMark& last) = 0;
    // No channel is left: returns when there is one again. An Error ends the round.
    virtual Status await_channel() = 0;
};

class SendChannelGroup {
  public:
    // The parts of the session that its channels use. They outlive the group.
    struct Needs {
        const SendConfig& config;
        ScannerSet& scanners;
        transport::Pacer& pacer;
        SentPages* sent = nullptr;  // null: an image
        ThreadTimes& times;
        Cancellation& session;
        CpuBudget& budget;
        ChannelPlacement placement{};
        ChecksumChoice checksums{};
        // True for a region whose pages may change while they are sent from where they are.
        std::vector<bool> changing{};
        const Paths* paths = nullptr;  // null: the paths have no limits, and no report
    };
    // One socket for each channel, in the order of their ids; each says its hello.
    static Result<std::unique_ptr<SendChannelGroup>> create(std::vector<PathSocket> sockets,
                                                            const transport::SessionId& session,
                                                            const Needs& needs);
    ~SendChannelGroup() { shutdown(); }
    SendChannelGroup(const SendChannelGroup&) = delete;
    SendChannelGroup& operator=(const SendChannelGroup&) = delete;

    // Starts the threads. Call once.
    Status start();

    // The figures of one round.
    struct RoundSent {
        std::uint64_t normal_pages = 0;
        std::uint64_t bytes = 0;
        std::uint64_t postponed = 0;  // pages of the plan that were left to the next round
        std::optional<transport::PacerBurst> tail{};  // that was sent without max-bandwidth
    };
    // They look at a round while it runs; each may be null. `losses` is needed once
    // survive_losses() was called.
    struct Watches {
        RoundWatch* growth = nullptr;
        LossWatch* losses = nullptr;
    };
    // Sends the plan's pages in this round, which is later than every round before. Called by the
    // session's thread. kCancelled after a stop of the session or of this group; an Error if
    // another number of pages was sent than planned and not postponed, and no channel was lost.
    Result<RoundSent> run(std::uint32_t round, RoundPlan plan, const Watches& watches);
    Result<RoundSent> run(std::uint32_t round, RoundPlan plan) {
        return run(round, std::move(plan), Watches());
    }
    // With `tails`, the ends of the rounds that follow are sent without max-bandwidth, to measure
    // the path.
    void want_tails(bool tails) { tail_.want(tails); }
    // Continues the last round: sends the pages of its plan that are not in `arrived`, which has a
    // bitmap for each region and outlives the round. The figures are those of the whole round.
    Result<RoundSent> continue_round(RoundPlan::Bitmaps arrived, const Watches& watches);
    // The regions of the last round's plan.
    std::span<const RegionInfo> regions() const { return shared_.plan->regions(); }
    // The number of pages that continue_round() would send.
    std::uint64_t missing(RoundPlan::Bitmaps arrived) const {
        return shared_.plan->without(arrived).pages();
    }

    // From now on the session survives the loss of channels, until fail_on_loss(). With
    // zero-page-detection=legacy it never does.
    void survive_losses() { losses_.survive(); }
    // The error of a loss that was not settled.
    Status fail_on_loss() { return losses_.fail_on_loss(); }
    const ChannelLosses& losses() const { return losses_; }
    // The figures of the last round so far.
    RoundSent round_sent() const;
    // Between run() and continue_round(): the receiver has told what arrived on the channels that
    // either side has lost. kProtocol if that cannot be. Called by the session's thread.
    Status settle_losses(std::span<const transport::LostChannel> lost);
    // The main channel was lost, and with it all channels, for the peer ends them, too. Ends their
    // connections, so that their threads end. Any thread.
    void cut();
    // The same; each of them is a lost channel from now on, and its thread has ended. Called by the
    // session's thread.
    void lose_all(const Error& why);
    // The same, but the loss of the main channel is not counted: lose_all() follows.
    void end_all(const Error& why);
    // After lose_all(): the receiver has so many channels. Those that were prepared and that it has
    // are lost ones, too. Further channels are of this epoch. kProtocol if that cannot be.
    Status adopt(std::uint16_t channels, std::uint16_t epoch);
    // There was no channel for this long.
    void add_outage(std::chrono::microseconds time) { losses_.add_outage(time); }
    // The rounds from now on carry the state of these devices, which outlive the group. The
    // receiver may stop reading for any time then; the main channel shows whether it is alive.
    Status carry(DeviceSender& devices);
    // The rounds from now on carry none. The threads of all channels have ended.
    void carry_nothing() { shared_.devices = nullptr; }

    // Makes further channels of these sockets, whose ids continue those of the present ones. Their
    // threads wait for admit(). Called by the session's thread, also while a round runs. After an
    // Error none of them can be admitted.
    Status prepare(std::vector<PathSocket> sockets, const transport::SessionId& session);
    // From now on, and in the round that runs, there are `channels`: the present ones and the first
    // of those that were prepared. The other ones end.
    void admit(std::uint16_t channels);
    // Number of channels that take part or took part before they were lost: the next one's id.
    std::uint16_t count() const { return static_cast<std::uint16_t>(channels_.size()); }
    // Number of channels on this path without lost ones.
    std::uint16_t working_on(std::uint16_t path) const;
    // True if there is no channel but lost ones.
    bool all_lost() const { return losses_.count() == count(); }

    // Ends the threads after the last round, or after a stop. Idempotent.
    void finish();
    // Ends this connection at once; the session goes on. Idempotent.
    void shutdown();

    // Sums over all channels. Any thread.
    transport::PageCounts pages() const;
    std::uint64_t bytes() const;
    // Bytes sent that the peer's host has not acknowledged.
    std::uint64_t bytes_under_way() const;
    // Adds the figures of each channel. Any thread.
    void fill(Report& report) const;

  private:
    explicit SendChannelGroup(const Needs& needs);
    SentPages* copies() const;
    ZeroCopyChoice choose_zero_copy_for(transport::Socket& socket) const;
    void fill_paths(Report& report) const;
    Result<RoundSent> run_plan(std::uint32_t opened, const Watches& watches);
    Status await_round_end(const Watches& watches);
    Status leave(SendChannel& channel, Error error);
    Status settle(SendChannel& channel, const transport::LostChannel& lost);
    void join(const SendChannel& channel);
    Result<std::unique_ptr<SendChannel>> make_channel(std::size_t id, PathSocket socket,
                                                      const transport::SessionId& session);
    Status start_worker(SendChannel& channel);

    Needs needs_;
    ZeroCopyChoice zero_copy_;  // set by create()
    Cancellation cancellation_;
    RoundGate gate_;
    std::unique_ptr<LegacyFeed> legacy_;  // only with zero-page-detection=legacy
    TailProbe tail_;
    SendShared shared_;
    ChannelList<SendChannel> channels_;
    std::vector<std::unique_ptr<SendChannel>> prepared_;  // and not admitted
    struct Worker {
        const SendChannel* channel;
        SessionThread thread;
    };
    std::vector<Worker> workers_;
    ChannelLosses losses_;
    std::uint16_t epoch_ = 0;  // of the main channel
    // The round that runs, or the last one.
    struct Round {
        std::uint32_t number = 0;
        std::uint64_t planned = 0;
        transport::PageCounts pages_before{};
        std::uint64_t bytes_before = 0;
        std::uint64_t postponed_before = 0;
        std::optional<transport::PacerBurst> tail{};  // set once all pages were sent
    };
    Round round_;
};

}  // namespace migrate::engine
