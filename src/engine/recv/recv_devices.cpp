// SPDX-License-Identifier: Apache-2.0
#include "engine/recv/recv_devices.hpp"

#include <algorithm>

#include "engine/devices/session_devices.hpp"
#include "transport/device_chunk.hpp"

namespace migrate::engine {

using transport::DeviceStateMode;

namespace {

// Checks that the guest's own state is among the devices exactly if there is a guest.
Status check_guest(const transport::Offer& offer, std::span<const devices::DeviceSpec> specs) {
    bool found = false;
    for (const devices::DeviceSpec& spec : specs) {
        if (spec.kind != devices::DeviceKind::kGuest) continue;
        if (offer.guest.empty() || found) {
            return make_error("device {}: it is no guest's that comes", spec.id.text());
        }
        found = true;
    }
    if (offer.guest.empty() || found) return {};
    return Error("the sender offers a guest, but no device with the guest's own state");
}

}  // namespace

Result<std::vector<devices::DeviceSpec>> RecvDevices::check(const transport::Offer& offer) const {
    MIGRATE_ASSIGN(std::vector<devices::DeviceSpec> specs, devices_from_offer(offer.devices));
    const DeviceStateMode here = config_.device_state;
    const DeviceStateMode there = offer.device_state;
    if (here == DeviceStateMode::kOff && there == DeviceStateMode::kOn) {
        return Error("multifd-device-state is off at this receiver, and on at the sender");
    }
    if (here == DeviceStateMode::kOn && there == DeviceStateMode::kOff && !specs.empty()) {
        return Error("multifd-device-state is on at this receiver, and off at the sender");
    }
    // Frames are loaded as they come, and need no memory for chunks that wait.
    if (use_channels(offer, specs)) {
        MIGRATE_TRY(DeviceBuffer::check_limit(config_.device_state_buffer, specs.size()));
    }
    MIGRATE_TRY(devices::check_places(specs, config_.devices));
    MIGRATE_TRY(check_guest(offer, specs));
    return specs;
}

bool RecvDevices::use_channels(const transport::Offer& offer,
                               std::span<const devices::DeviceSpec> specs) const {
    return !specs.empty() && config_.device_state != DeviceStateMode::kOff &&
           offer.device_state != DeviceStateMode::kOff;
}

Status RecvDevices::open(const transport::Offer& offer,
                         std::span<const devices::DeviceSpec> specs) {
    specs_.assign(specs.begin(), specs.end());
    on_channels_ = use_channels(offer, specs);
    return open_sinks();
}

Status RecvDevices::open_sinks() {
    entries_.clear();
    guest_state_ = std::make_shared<std::string>();
    MIGRATE_ASSIGN(auto sinks, devices::make_sinks(specs_, config_.devices));
    for (std::size_t i = 0; i < specs_.size(); ++i) {
        if (specs_[i].kind == devices::DeviceKind::kGuest) {
            sinks[i] = std::make_unique<GuestSink>(guest_state_);
        }
        entries_.push_back({specs_[i].id, specs_[i].kind, std::move(sinks[i])});
    }
    return {};
}

void RecvDevices::accept(std::chrono::milliseconds patience,
                         transport::PayloadChecksums checksums) {
    checksums_ = checksums;
    patience_ = patience;
    make_receiver();
}

void RecvDevices::make_receiver() {
    if (!entries_.empty()) {
        receiver_ = std::make_unique<DeviceReceiver>(std::exchange(entries_, {}),
                                                     config_.device_state_buffer, patience_);
    }
    const auto published = published_.lock();
    published->devices = receiver_.get();
    published->device_state = on_channels_;
}

Status RecvDevices::begin_loading() {
    if (for_channels() == nullptr) return {};
    loading_.emplace(core_.cancellation());
    return receiver_->start(core_.times(), *loading_);
}

Status RecvDevices::load_frame(std::string_view body) {
    MIGRATE_ASSIGN(const transport::DeviceFrame frame,
                   transport::decode_device_frame(body, checksums_));
    return receiver_->load_in_turn(frame.header, frame.chunk, core_.token());
}

void RecvDevices::end_of_channels() {
    if (receiver_) receiver_->end();
}

Result<std::uint64_t> RecvDevices::await_complete() {
    if (!receiver_) return 0;
    const auto began = DeviceCounters::Clock::now();
    MIGRATE_TRY(on_channels_ ? receiver_->await_complete(core_.token())
                             : receiver_->check_all_in_turn_loaded());
    const std::uint64_t waited = DeviceCounters::us_since(began);
    published_.lock()->downtime.devices = Microseconds(static_cast<std::int64_t>(waited));
    return waited;
}

Status RecvDevices::commit() { return receiver_ ? receiver_->commit() : Status(); }

void RecvDevices::join() {
    if (receiver_) receiver_->join();
}

bool RecvDevices::can_start_again() const {
    return std::none_of(specs_.begin(), specs_.end(), [](const devices::DeviceSpec& one) {
        return one.kind == devices::DeviceKind::kStream;
    });
}

void RecvDevices::abandon() {
    if (loading_) loading_->end();
    if (!receiver_) return;
    receiver_->abandon();
    receiver_->join();
}

Status RecvDevices::prepare_again() {
    published_.lock()->devices = nullptr;
    receiver_.reset();
    loading_.reset();
    MIGRATE_TRY(open_sinks());
    make_receiver();
    return {};
}

}  // namespace migrate::engine
