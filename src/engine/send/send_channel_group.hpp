// The data channels of one connection: N sockets, a thread for each, and the gate between rounds.
// Channels may be added while a round runs.
// A group can be shut down while its session goes on, and a new one made for the same session.
// Invariant: run() returns only when every channel has sent its part and its SYNC.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/cancellation.hpp"
#include "base/thread.hpp"
#include "engine/channel_list.hpp"
#include "engine/checksum_choice.hpp"
#include "engine/report/report.hpp"
#include "engine/round_gate.hpp"
#include "engine/send/channel_placement.hpp"
#include "engine/send/legacy_feed.hpp"
#include "engine/send/round_plan.hpp"
#include "engine/send/scanner_set.hpp"
#include "engine/send/send_channel.hpp"
#include "engine/send/sent_pages.hpp"
#include "engine/send/zero_copy_choice.hpp"
#include "engine/session_config.hpp"
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
    };
    // One socket for each channel, in the order of their ids; each says its hello.
    static Result<std::unique_ptr<SendChannelGroup>> create(std::vector<transport::Socket> sockets,
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
    };
    // Sends the plan's pages in this round, which is later than every round before; `watch` may be
    // null. Called by the session's thread. kCancelled after a stop of the session or of this
    // group; an Error if another number of pages was sent than planned.
    Result<RoundSent> run(std::uint32_t round, RoundPlan plan, RoundWatch* watch = nullptr);
    // The rounds from now on carry the state of these devices, which outlive the group. The
    // receiver may stop reading for any time then; the main channel shows whether it is alive.
    Status carry(DeviceSender& devices);

    // Makes further channels of these sockets, whose ids continue those of the present ones. Their
    // threads wait for admit(). Called by the session's thread, also while a round runs. After an
    // Error none of them can be admitted.
    Status prepare(std::vector<transport::Socket> sockets, const transport::SessionId& session);
    // From now on, and in the round that runs, there are `channels`: the present ones and the first
    // of those that were prepared. The other ones stay unused.
    void admit(std::uint16_t channels);
    // Number of channels that take part.
    std::uint16_t count() const { return static_cast<std::uint16_t>(channels_.size()); }

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
    Status await_round_end(RoundWatch* watch);
    Result<std::unique_ptr<SendChannel>> make_channel(std::size_t id, transport::Socket socket,
                                                      const transport::SessionId& session);
    Status start_worker(SendChannel& channel);

    Needs needs_;
    ZeroCopyChoice zero_copy_;  // set by create()
    Cancellation cancellation_;
    RoundGate gate_;
    std::unique_ptr<LegacyFeed> legacy_;  // only with zero-page-detection=legacy
    SendShared shared_;
    ChannelList<SendChannel> channels_;
    std::vector<std::unique_ptr<SendChannel>> prepared_;  // and not admitted
    std::vector<SessionThread> workers_;
};

}  // namespace migrate::engine
