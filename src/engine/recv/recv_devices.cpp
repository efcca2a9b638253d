// The receiving side's devices: checks whether they can be taken, opens their sinks, and waits
// until all of them are complete.

#include <algorithm>

#include "engine/devices/session_devices.hpp"
#include "engine/recv/recv_session.hpp"
#include "transport/device_chunk.hpp"

namespace migrate::engine {

using transport::DeviceStateMode;

// Checks whether the offered devices can be taken; opens nothing for them yet.
Result<std::vector<devices::DeviceSpec>> RecvSession::check_devices(
    const transport::Offer& offer) const {
    MIGRATE_ASSIGN(std::vector<devices::DeviceSpec> specs, devices_from_offer(offer.devices));
    const DeviceStateMode here = config_.device_state;
    const DeviceStateMode there = offer.device_state;
    if (here == DeviceStateMode::kOff && there == DeviceStateMode::kOn) {
        return Error("multifd-device-state is off at this receiver, and on at the sender");
    }
    // With multifd-device-state=off the guest's own state is not among the devices.
    const bool has_state = !specs.empty() || !offer.guest.empty();
    if (here == DeviceStateMode::kOn && there == DeviceStateMode::kOff && has_state) {
        return Error("multifd-device-state is on at this receiver, and off at the sender");
    }
    MIGRATE_TRY(DeviceBuffer::check_limit(config_.device_state_buffer, specs.size()));
    MIGRATE_TRY(devices::check_places(specs, config_.devices));
    bool guest_is_there = false;
    for (const devices::DeviceSpec& spec : specs) {
        if (spec.kind != devices::DeviceKind::kGuest) continue;
        if (offer.guest.empty() || guest_is_there) {
            return make_error("device {}: it is no guest's that comes", spec.id.text());
        }
        guest_is_there = true;
    }
    if (!offer.guest.empty() && on_channels(offer, specs) && !guest_is_there) {
        return Error("the sender offers device state, but not that of its guest");
    }
    return specs;
}

bool RecvSession::on_channels(const transport::Offer& offer,
                              std::span<const devices::DeviceSpec> specs) const {
    return !specs.empty() && config_.device_state != DeviceStateMode::kOff &&
           offer.device_state != DeviceStateMode::kOff;
}

// Opens the sinks of devices that passed check_devices().
Status RecvSession::open_devices(const transport::Offer& offer,
                                 std::span<const devices::DeviceSpec> specs) {
    device_entries_.clear();
    device_guest_state_.reset();
    device_state_ = on_channels(offer, specs);
    MIGRATE_ASSIGN(auto sinks, devices::make_sinks(specs, config_.devices));
    for (std::size_t i = 0; i < specs.size(); ++i) {
        if (specs[i].kind == devices::DeviceKind::kGuest) {
            // If devices do not use the channels, this state comes as GUEST_STATE.
            if (!device_state_) continue;
            device_guest_state_ = std::make_shared<std::string>();
            sinks[i] = std::make_unique<GuestSink>(device_guest_state_);
        }
        device_entries_.push_back({specs[i].id, specs[i].kind, std::move(sinks[i])});
    }
    return {};
}

void RecvSession::make_devices() {
    if (device_entries_.empty()) return;
    const std::scoped_lock lock(mutex_);
    devices_ = std::make_unique<DeviceReceiver>(std::exchange(device_entries_, {}),
                                                config_.device_state_buffer, link_times_.data.busy);
}

// Called at SWITCHOVER_START: devices may be loaded from now on.
Status RecvSession::begin_switchover() {
    switchover_began_ = std::chrono::steady_clock::now();
    if (!devices_ || !device_state_) return {};
    return devices_->start(core_.times(), core_.cancellation());
}

bool RecvSession::awaits_device_frames() const {
    return devices_ && !device_state_ && !devices_->all_in_turn_loaded();
}

Status RecvSession::receive_device_frame(const std::string& body) {
    const auto bytes = std::as_bytes(std::span(body));
    if (bytes.size() < transport::kDeviceHeaderFixedBytes) {
        return make_error(ErrorKind::kProtocol, "a device's frame of {} bytes", bytes.size());
    }
    const std::size_t header_bytes =
        std::min(bytes.size(),
                 transport::kDeviceHeaderFixedBytes +
                     std::to_integer<std::size_t>(bytes[transport::kDeviceHeaderFixedBytes - 1]));
    const auto chunk = bytes.subspan(header_bytes);
    MIGRATE_ASSIGN(const transport::DeviceChunkHeader header,
                   transport::decode_device_header(bytes.first(header_bytes), chunk.size()));
    return devices_->load_in_turn(header, chunk, core_.token());
}

// Waits for the devices before the session reports that all is in place. Stores in `done` how long
// this took beyond everything else.
Status RecvSession::await_devices(transport::Done& done) {
    if (!devices_) return {};
    const DeviceCounters::Clock::time_point began = DeviceCounters::Clock::now();
    if (device_state_) MIGRATE_TRY(devices_->await_complete(core_.token()));
    if (device_guest_state_) guest_state_ = *device_guest_state_;
    done.devices_us = DeviceCounters::us_since(began);
    const std::scoped_lock lock(mutex_);
    downtime_.devices = Microseconds(static_cast<std::int64_t>(done.devices_us));
    return {};
}

Status RecvSession::commit_devices() { return devices_ ? devices_->commit() : Status(); }

}  // namespace migrate::engine
