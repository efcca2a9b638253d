#include "engine/session_devices.hpp"

#include <algorithm>
#include <cstring>

#include "guest/guest.hpp"

namespace migrate::engine {

using devices::DeviceKind;
using devices::DeviceSpec;

namespace {

class GuestSource final : public devices::DeviceSource {
  public:
    explicit GuestSource(std::string state) : state_(std::move(state)) {}
    Status begin(const std::stop_token&) override { return {}; }
    Result<std::size_t> save(std::span<std::byte>, const std::stop_token&) override {
        return std::size_t{0};
    }
    Result<std::size_t> save_config(std::span<std::byte> buffer, const std::stop_token&) override {
        if (state_.size() > buffer.size()) return make_error("no room for the guest's state");
        std::memcpy(buffer.data(), state_.data(), state_.size());
        return state_.size();
    }

  private:
    std::string state_;
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
        if (!devices::is_valid_name(device.name)) {
            return make_error(ErrorKind::kProtocol, "'{}' is no device's name", device.name);
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
            return make_error(ErrorKind::kProtocol, "device {}: this receiver knows no '{}'",
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

std::unique_ptr<devices::DeviceSource> make_guest_source(std::string state) {
    return std::make_unique<GuestSource>(std::move(state));
}

Status GuestSink::load(std::span<const std::byte>, const std::stop_token&) {
    return make_error("a guest's state is one chunk, its configuration");
}

Status GuestSink::load_config(std::span<const std::byte> config, const std::stop_token&) {
    if (config.size() > guest::kMaxStateBytes) {
        return make_error("a guest's state of {} bytes; {} are possible", config.size(),
                          guest::kMaxStateBytes);
    }
    state_->assign(reinterpret_cast<const char*>(config.data()), config.size());
    return {};
}

}  // namespace migrate::engine
