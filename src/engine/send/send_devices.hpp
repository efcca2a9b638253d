// SPDX-License-Identifier: Apache-2.0
// The sending side's devices: offers them, and sends their state once the guest is paused. The
// guest's own state is the last of them. Invariant: a source is opened before the migration begins,
// and its state is saved once.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/cancellation.hpp"
#include "devices/device.hpp"
#include "engine/devices/device_sender.hpp"
#include "engine/peer_link.hpp"
#include "engine/send/downtime_clock.hpp"
#include "engine/send/live_source.hpp"
#include "engine/send/send_channel_group.hpp"
#include "engine/send/send_figures.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {

class SendDevices {
  public:
    // Opens the devices' sources, and fails if device state cannot be sent as configured. `config`
    // and `live` outlive the object; `live` is null for an image.
    static Result<std::unique_ptr<SendDevices>> create(const SendConfig& config, LiveSource* live);

    // True if there is state to send.
    bool any() const { return !config_.devices.empty() || live_ != nullptr; }
    transport::DeviceStateMode offered_mode() const;
    std::vector<transport::OfferedDevice> offered() const;
    // kPeer or kProtocol if the receiver's answer does not fit the offer.
    Status take_answer(const transport::Accept& accepted);
    // True if the state goes on the data channels.
    bool on_channels() const { return on_channels_; }

    // Called once the guest is paused, and before the last round. If the state goes on the
    // channels, its threads begin now, and the next round carries it.
    Status start(SendChannelGroup& channels, SessionCore& core, PublishedSend& published);
    // Called after the last round if the state does not go on the channels: sends one device after
    // the other, and adds the time to the downtime.
    Status send_frames(PeerLink& link, const std::stop_token& stop, DowntimeClock& clock);
    // The time when the last of the memory was sent, if that round carried state.
    DowntimeClock::Clock::time_point memory_done() const { return sender_->memory_done(); }
    // Ends the threads. Called after a stop or once everything is sent. Idempotent.
    void join();

    // True if the state can be saved a second time: a stream can be read once only.
    bool can_start_again() const;
    // The switchover broke off: ends the connections that may carry state, and the threads. No
    // state is saved once this has returned.
    void break_off(SendChannelGroup& channels);
    // After break_off(), when the threads of the channels have ended: start() may be called again.
    Status prepare_again(SendChannelGroup& channels, PublishedSend& published);

  private:
    SendDevices(const SendConfig& config, LiveSource* live) : config_(config), live_(live) {}
    std::vector<DeviceSender::Entry> take_entries();

    const SendConfig& config_;
    LiveSource* live_;
    bool on_channels_ = false;
    bool checksums_ = false;                                       // frames have a checksum
    std::vector<std::unique_ptr<devices::DeviceSource>> sources_;  // until start()
    std::optional<Cancellation> saving_;    // of the threads, below the session's; from start() on
    std::unique_ptr<DeviceSender> sender_;  // from start() on, if any()
};

}  // namespace migrate::engine
