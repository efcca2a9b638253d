// SPDX-License-Identifier: Apache-2.0
// The receiving side's devices: checks whether they can be taken, opens their sinks, and loads
// them. A guest's own state is one of them. Invariant: nothing is loaded before SWITCHOVER_START,
// and nothing becomes visible before commit().
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/cancellation.hpp"
#include "devices/device_spec.hpp"
#include "engine/devices/device_receiver.hpp"
#include "engine/recv/recv_figures.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {

class RecvDevices {
  public:
    // All outlive this object.
    RecvDevices(const RecvConfig& config, SessionCore& core, PublishedRecv& published)
        : config_(config), core_(core), published_(published) {}

    // Checks whether the offered devices can be taken; opens nothing for them yet.
    Result<std::vector<devices::DeviceSpec>> check(const transport::Offer& offer) const;
    // Opens the sinks of devices that passed check().
    Status open(const transport::Offer& offer, std::span<const devices::DeviceSpec> specs);
    // The offer was accepted, with these checksums. For `patience`, see DeviceBuffer.
    void accept(std::chrono::milliseconds patience, transport::PayloadChecksums checksums);

    bool any() const { return receiver_ != nullptr; }
    // True if the state comes on the data channels.
    bool on_channels() const { return on_channels_; }
    // Takes chunks from the channels; null if none come there.
    DeviceReceiver* for_channels() const { return on_channels_ ? receiver_.get() : nullptr; }

    // SWITCHOVER_START came: devices may be loaded from now on.
    Status begin_loading();
    // A DEVICE_STATE frame came: loads its chunk.
    Status load_frame(std::string_view body);
    // The channels have delivered all.
    void end_of_channels();
    // Waits until every device is complete; returns how long, in microseconds. kProtocol names a
    // device that is not, if no further frame can come.
    Result<std::uint64_t> await_complete();
    // Makes the loaded state visible.
    Status commit();
    // Ends the threads. Called after a stop or await_complete(). Idempotent.
    void join();

    // True if the state can be loaded a second time: a stream may have been passed on already.
    bool can_start_again() const;
    // The connections were lost: what was not loaded by now never is, and no channel waits for
    // room. State that was loaded completely can still be committed.
    void abandon();
    // After abandon(), when the threads of the channels have ended: drops what was loaded, so that
    // begin_loading() may be called again.
    Status prepare_again();

    // The guest's own state, once complete; empty without a guest.
    const std::string& guest_state() const { return *guest_state_; }

  private:
    Status open_sinks();
    void make_receiver();
    bool use_channels(const transport::Offer& offer,
                      std::span<const devices::DeviceSpec> specs) const;

    const RecvConfig& config_;
    SessionCore& core_;
    PublishedRecv& published_;
    bool on_channels_ = false;
    transport::PayloadChecksums checksums_ = transport::PayloadChecksums::kNone;
    std::vector<devices::DeviceSpec> specs_;      // of the offer
    std::vector<DeviceReceiver::Entry> entries_;  // of the offer, until it is accepted
    std::chrono::milliseconds patience_{};
    std::shared_ptr<std::string> guest_state_ = std::make_shared<std::string>();
    std::optional<Cancellation> loading_;       // of the threads, below the session's
    std::unique_ptr<DeviceReceiver> receiver_;  // null: no devices
};

}  // namespace migrate::engine
