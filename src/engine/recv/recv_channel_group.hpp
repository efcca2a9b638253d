// SPDX-License-Identifier: Apache-2.0
// The data channels of one connection: N sockets, a thread for each, and the gate between rounds;
// the counterpart of SendChannelGroup. A group can be shut down while its session goes on, and a
// new one made for the same session. Invariant: finish_round() succeeds only when every channel has
// received its SYNC, or was lost and has taken back what arrived of its last packet.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/cancellation.hpp"
#include "base/limits.hpp"
#include "base/thread.hpp"
#include "engine/channel_list.hpp"
#include "engine/channel_losses.hpp"
#include "engine/checksum_choice.hpp"
#include "engine/recv/recv_channel.hpp"
#include "engine/report/report.hpp"
#include "engine/round_gate.hpp"
#include "memory/sink/page_placer.hpp"
#include "transport/control_messages.hpp"
#include "transport/socket.hpp"

namespace migrate::engine {

class RecvChannelGroup {
  public:
    // The parts of the session that its channels use. They outlive the group.
    struct Needs {
        transport::PacketLimits limits;
        ChecksumChoice checksums{};  // for the report
        memory::PagePlacer& placer;
        bool discards = false;              // the sink keeps nothing
        DeviceReceiver* devices = nullptr;  // set if limits.device_state
        ThreadTimes& times;
        Cancellation& session;
        CpuBudget& budget;
        // The session survives the loss of channels, until fail_on_loss().
        bool survives_losses = false;
        // That of channels on which device state comes, too: all of it comes again then.
        bool survives_device_losses = false;
    };
    // One socket for each channel, in the order of their ids.
    static Result<std::unique_ptr<RecvChannelGroup>> create(std::vector<transport::Socket> sockets,
                                                            const Needs& needs);
    ~RecvChannelGroup() { shutdown(); }
    RecvChannelGroup(const RecvChannelGroup&) = delete;
    RecvChannelGroup& operator=(const RecvChannelGroup&) = delete;

    // Starts the threads. Call once.
    Status start();
    // Makes further channels of these sockets, whose ids continue those of the present ones; they
    // take part in the round that runs. Called by the session's thread. An Error is about the first
    // channel that could not be added: count() has those that were.
    Status add(std::vector<transport::Socket> sockets);
    // Number of channels, those that were lost included.
    std::uint16_t count() const { return static_cast<std::uint16_t>(channels_.size()); }
    // ROUND_START came: the channels read the packets of this round.
    void begin_round(std::uint32_t round) { gate_.open(round + shared_.continued); }
    // ROUND_AGAIN came: they read further packets of this round.
    void continue_round(std::uint32_t round) { gate_.open(round + ++shared_.continued); }
    // ROUND_END came: waits until the channels have read all of the round. kCancelled after a stop
    // of the session or of this group.
    Status finish_round(std::uint32_t round);

    // The sender has lost these channels: nothing more comes on them. kProtocol if there are no
    // such channels, or if the session does not survive losses.
    Status end_channels(std::span<const std::uint16_t> lost);
    // The main channel was lost, and with it all channels, for the peer ends them, too. Ends their
    // connections, so that their threads end. Any thread.
    void cut();
    // The same; each of them is a lost channel from now on, whose thread ends. Called by the
    // session's thread, which calls take_losses() next.
    void lose_all(const Error& why);
    // After finish_round() or lose_all(): what arrived on the channels that either side has lost
    // since the last call. Called by the session's thread.
    std::vector<transport::LostChannel> take_losses();
    const ChannelLosses& losses() const { return losses_; }
    // From now on a lost channel ends the session. The error of a loss that was not taken.
    Status fail_on_loss();
    // Undoes that.
    void survive_losses();
    // Chunks of device state go there from now on. The threads of all channels have ended.
    void pass_devices_to(DeviceReceiver* devices) { shared_.devices = devices; }

    // Ends the threads after the last round, or after a stop. Idempotent.
    void finish();
    // Ends this connection at once; the session goes on. Idempotent.
    void shutdown();

    // Sum over all channels. Any thread.
    transport::PageCounts pages() const;
    // Adds the figures of each channel. Any thread.
    void fill(Report& report) const;

  private:
    RecvChannelGroup(const Needs& needs, unsigned channels);
    Status start_worker(RecvChannel& channel);
    Status leave(RecvChannel& channel, Error error);

    ThreadTimes& times_;
    Cancellation cancellation_;
    const ChecksumChoice checksums_;
    RoundGate gate_;
    RecvShared shared_;
    ChannelList<RecvChannel> channels_;
    std::vector<SessionThread> workers_;  // by id
    bool survives_;
    const bool survives_device_losses_;
    ChannelLosses losses_;
};

}  // namespace migrate::engine
