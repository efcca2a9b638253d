// SPDX-License-Identifier: Apache-2.0
#include "engine/devices/session_devices.hpp"

#include <algorithm>
#include <cstring>

#include "guest/guest.hpp"

namespace migrate::engine {

using devices::DeviceKind;
using devices::DeviceSpec;

namespace {

class GuestSource final : public devices::DeviceSource {
  public:
    explicit GuestSource(SaveGuest save) : save_(std::move(save)) {}
    Status begin(const std::stop_token&) override {
        MIGRATE_ASSIGN(state_, save_());
        return {};
    }
    // Leaves the last part, which fits into one chunk, for the configuration.
    Result<std::size_t> save(std::span<std::byte> buffer, const std::stop_token&) override {
        return state_.size() - sent_ <= buffer.size() ? std::size_t{0} : fill(buffer);
    }
    Result<std::size_t> save_config(std::span<std::byte> buffer, const std::stop_token&) override {
        return fill(buffer);
    }

  private:
    std::size_t fill(std::span<std::byte> buffer) {
        const std::size_t size = std::min(buffer.size(), state_.size() - sent_);
        std::memcpy(buffer.data(), state_.data() + sent_, size);
        sent_ += size;
        return size;
    }

    SaveGuest save_;
    std::string state_;
    std::size_t sent_ = 0;
};

}  // namespace

std::vector<transport::OfferedDevice> describe_devices(std::span<const DeviceSpec> specs) {
    std::vector<transport::OfferedDevice> offered;
    for (const DeviceSpec& spec : specs) {
        offered.push_back({spec.id.name, spec.id.instance, std::string(name_of(spec.kind)),
                           spec.kind == DeviceKind::kSimulated ? spec.simulated.text() : ""});
    }
    return offered;
}

Result<std::vector<DeviceSpec>> devices_from_offer(
    std::span<const transport::OfferedDevice> offered) {
    std::vector<DeviceSpec> specs;
    for (const transport::OfferedDevice& device : offered) {
        DeviceSpec spec;
        spec.id = {device.name, device.instance};
        if (!is_device_name(device.name)) {
            return make_error(ErrorKind::kProtocol, "'{}' is not a valid device name", device.name);
        }
        if (device.kind == name_of(DeviceKind::kSimulated)) {
            auto parsed = devices::parse_simulated(device.words);
            if (!parsed) {
                return std::move(parsed).error().with_context("device " + spec.id.text());
            }
            spec.simulated = *parsed;
        } else if (device.kind == name_of(DeviceKind::kStream)) {
            spec.kind = DeviceKind::kStream;
        } else if (device.kind == name_of(DeviceKind::kGuest)) {
            spec.kind = DeviceKind::kGuest;
        } else {
            return make_error(
                ErrorKind::kProtocol,
                "device {}: this receiver does not know the kind '{}'; update the receiver",
                spec.id.text(), device.kind);
        }
        specs.push_back(std::move(spec));
    }
    MIGRATE_TRY(devices::check_list(specs));
    return specs;
}

DeviceSpec guest_device(std::string_view kind) {
    DeviceSpec spec;
    spec.id.name = kind;
    spec.kind = DeviceKind::kGuest;
    return spec;
}

std::unique_ptr<devices::DeviceSource> make_guest_source(SaveGuest save) {
    return std::make_unique<GuestSource>(std::move(save));
}

Status GuestSink::load(std::span<const std::byte> chunk, const std::stop_token&) {
    if (chunk.size() > guest::kMaxStateBytes - state_->size()) {
        return make_error(ErrorKind::kProtocol, "the guest's state has more than {} bytes",
                          guest::kMaxStateBytes);
    }
    state_->append(reinterpret_cast<const char*>(chunk.data()), chunk.size());
    return {};
}

Status GuestSink::load_config(std::span<const std::byte> config, const std::stop_token& stop) {
    return load(config, stop);
}

}  // namespace migrate::engine
