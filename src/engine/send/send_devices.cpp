// The sending side's devices: offers them, and sends their state once the guest is paused.

#include "base/log.hpp"
#include "engine/devices/session_devices.hpp"
#include "engine/send/send_session.hpp"

namespace migrate::engine {

using Clock = DeviceCounters::Clock;

using transport::DeviceStateMode;

// Opens the devices' sources, and reports early if device state cannot be sent.
Status SendSession::prepare_devices() {
    const bool on = config_.device_state == DeviceStateMode::kOn;
    if (on && config_.detection == ZeroPageDetection::kLegacy) {
        return Error(ErrorKind::kUsage,
                     "multifd-device-state=on: with zero-page-detection=legacy the channels send "
                     "only what the main thread hands over");
    }
    if (on && config_.devices.empty() && !live_) {
        return Error(ErrorKind::kUsage,
                     "multifd-device-state=on: there is no guest and no device whose state could "
                     "be sent; name some with --devices");
    }
    std::vector<devices::DeviceSpec> all = config_.devices;
    if (live_) all.push_back(guest_device(guest_kind_));
    MIGRATE_TRY(devices::check_list(all));
    MIGRATE_ASSIGN(device_sources_, devices::make_sources(config_.devices));
    return {};
}

void SendSession::offer_devices(transport::Offer& offer) const {
    offer.device_state = config_.detection == ZeroPageDetection::kLegacy ? DeviceStateMode::kOff
                                                                         : config_.device_state;
    offer.devices = describe_devices(config_.devices);
    if (live_ && offer.device_state != DeviceStateMode::kOff) {
        const devices::DeviceSpec guest = guest_device(guest_kind_);
        const auto described = describe_devices(std::span(&guest, 1));
        offer.devices.push_back(described.front());
    }
}

Status SendSession::check_device_answer(const transport::Offer& offer,
                                        const transport::Accept& accepted) {
    if (!accepted.device_state && offer.device_state == DeviceStateMode::kOn) {
        return Error(ErrorKind::kPeer,
                     "the receiver takes no device state on the channels: use "
                     "multifd-device-state=auto or off");
    }
    if (accepted.device_state &&
        (offer.device_state == DeviceStateMode::kOff || offer.devices.empty())) {
        return Error(ErrorKind::kProtocol, "the receiver wants device state that was not offered");
    }
    return {};
}

// Called once the guest is paused. If device state uses the channels, its threads begin now.
Status SendSession::start_devices() {
    const bool on_channels = accepted_.device_state;
    std::vector<DeviceSender::Entry> entries;
    for (std::size_t i = 0; i < config_.devices.size(); ++i) {
        entries.push_back(
            {config_.devices[i].id, config_.devices[i].kind, std::move(device_sources_[i])});
    }
    device_sources_.clear();
    if (on_channels && live_) {
        const devices::DeviceSpec spec = guest_device(guest_kind_);
        entries.push_back(
            {spec.id, spec.kind, make_guest_source([this] { return live_->save_state(); })});
    }
    if (entries.empty()) return {};
    {
        const std::scoped_lock lock(mutex_);
        devices_ =
            std::make_unique<DeviceSender>(std::move(entries), config_.negotiated.channels());
    }
    if (on_channels) {
        // The receiver stops reading while its device buffer is full. The main channel shows
        // whether the receiver is alive.
        for (const auto& channel : channels_) MIGRATE_TRY(channel->expect_back_pressure());
        // The channels' threads read this from the next round on, which the gate opens.
        shared_.devices = devices_.get();
        MIGRATE_TRY(devices_->start(core_.times(), core_.cancellation()));
    }
    return {};
}

// If device state does not use the channels: sends device after device as frames of the main
// channel.
Status SendSession::send_devices_in_turn() {
    if (!devices_ || shared_.devices != nullptr) return {};
    return devices_->send_in_turn(
        [this](std::span<const std::byte> header, std::span<const std::byte> chunk) {
            return link_->send(transport::FrameType::kDeviceState, header, chunk);
        },
        core_.token());
}

}  // namespace migrate::engine
