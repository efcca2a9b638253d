// SPDX-License-Identifier: Apache-2.0
#include "engine/send/send_devices.hpp"

#include <algorithm>

#include "engine/devices/session_devices.hpp"
#include "transport/device_chunk.hpp"

namespace migrate::engine {

using transport::DeviceStateMode;

Result<std::unique_ptr<SendDevices>> SendDevices::create(const SendConfig& config,
                                                         LiveSource* live) {
    const bool on = config.device_state == DeviceStateMode::kOn;
    if (on && config.detection == ZeroPageDetection::kLegacy) {
        return Error(ErrorKind::kUsage,
                     "multifd-device-state=on: with zero-page-detection=legacy the channels send "
                     "only what the main thread hands over");
    }
    if (on && config.devices.empty() && live == nullptr) {
        return Error(ErrorKind::kUsage,
                     "multifd-device-state=on: there is no guest and no device whose state could "
                     "be sent; name some with --devices");
    }
    std::vector<devices::DeviceSpec> all = config.devices;
    if (live != nullptr) all.push_back(guest_device(live->guest_kind()));
    MIGRATE_TRY(devices::check_list(all));
    std::unique_ptr<SendDevices> made(new SendDevices(config, live));
    MIGRATE_ASSIGN(made->sources_, devices::make_sources(config.devices));
    return made;
}

DeviceStateMode SendDevices::offered_mode() const {
    return config_.detection == ZeroPageDetection::kLegacy ? DeviceStateMode::kOff
                                                           : config_.device_state;
}

std::vector<transport::OfferedDevice> SendDevices::offered() const {
    std::vector<devices::DeviceSpec> all = config_.devices;
    if (live_ != nullptr) all.push_back(guest_device(live_->guest_kind()));
    return describe_devices(all);
}

Status SendDevices::take_answer(const transport::Accept& accepted) {
    const DeviceStateMode mode = offered_mode();
    if (!accepted.device_state && mode == DeviceStateMode::kOn) {
        return Error(ErrorKind::kPeer,
                     "the receiver takes no device state on the channels: use "
                     "multifd-device-state=auto or off");
    }
    if (accepted.device_state && (mode == DeviceStateMode::kOff || !any())) {
        return Error(ErrorKind::kProtocol, "the receiver wants device state that was not offered");
    }
    on_channels_ = accepted.device_state;
    checksums_ = accepted.checksums.value_or(false);
    return {};
}

std::vector<DeviceSender::Entry> SendDevices::take_entries() {
    std::vector<DeviceSender::Entry> entries;
    for (std::size_t i = 0; i < config_.devices.size(); ++i) {
        entries.push_back({config_.devices[i].id, config_.devices[i].kind, std::move(sources_[i])});
    }
    sources_.clear();
    if (live_ != nullptr) {
        const devices::DeviceSpec spec = guest_device(live_->guest_kind());
        entries.push_back(
            {spec.id, spec.kind, make_guest_source([this] { return live_->save_state(); })});
    }
    return entries;
}

Status SendDevices::start(SendChannelGroup& channels, SessionCore& core, PublishedSend& published) {
    if (!any()) return {};
    sender_ = std::make_unique<DeviceSender>(take_entries(), channels.count());
    published.lock()->devices = sender_.get();
    if (!on_channels_) return {};
    MIGRATE_TRY(channels.carry(*sender_));
    saving_.emplace(core.cancellation());
    return sender_->start(core.times(), *saving_);
}

Status SendDevices::send_frames(PeerLink& link, const std::stop_token& stop, DowntimeClock& clock) {
    if (!sender_ || on_channels_) return {};
    const auto send = [&](std::span<const std::byte> header, std::span<const std::byte> chunk) {
        if (!checksums_) return link.send(transport::FrameType::kDeviceState, header, chunk);
        return link.send(transport::FrameType::kDeviceState,
                         transport::add_frame_checksum(header, chunk), chunk);
    };
    const std::size_t others = config_.devices.size();
    for (std::size_t i = 0; i < others; ++i) MIGRATE_TRY(sender_->send_in_turn(i, send, stop));
    clock.lap(&DowntimeReport::devices);
    if (live_ == nullptr) return {};
    MIGRATE_TRY(sender_->send_in_turn(others, send, stop));
    clock.lap(&DowntimeReport::state_save);
    return {};
}

void SendDevices::join() {
    if (sender_) sender_->join();
}

bool SendDevices::can_start_again() const {
    return std::none_of(
        config_.devices.begin(), config_.devices.end(),
        [](const devices::DeviceSpec& one) { return one.kind == devices::DeviceKind::kStream; });
}

void SendDevices::break_off(SendChannelGroup& channels) {
    // The threads end with errors now; these are no errors of the session.
    if (saving_) saving_->end();
    // First, so that no channel ends its round without all of the state.
    channels.cut();
    if (!sender_) return;
    sender_->abandon();
    sender_->join();
}

Status SendDevices::prepare_again(SendChannelGroup& channels, PublishedSend& published) {
    channels.carry_nothing();
    published.lock()->devices = nullptr;
    sender_.reset();
    saving_.reset();
    MIGRATE_ASSIGN(sources_, devices::make_sources(config_.devices));
    return {};
}

}  // namespace migrate::engine
