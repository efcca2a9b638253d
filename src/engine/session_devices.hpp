// What both sides' sessions share of devices: how they are described in the handshake, and the
// built-in guest's own state as one of them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "devices/device.hpp"
#include "devices/device_spec.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {

std::vector<transport::OfferedDevice> describe_devices(std::span<const devices::DeviceSpec> specs);
// Of a peer's offer; an Error names what this host does not know.
Result<std::vector<devices::DeviceSpec>> devices_from_offer(
    std::span<const transport::OfferedDevice> offered);

// The guest of that kind as a device.
devices::DeviceSpec guest_device(std::string_view kind);
// `save` is asked for the state by the device's thread, while the last of the memory is sent.
using SaveGuest = std::function<Result<std::string>()>;
std::unique_ptr<devices::DeviceSource> make_guest_source(SaveGuest save);

// A piece of a guest's state, behind those that came before it.
Status add_guest_state(std::string& state, std::span<const std::byte> piece);

// Keeps the state for the session, which loads it when memory is in place.
class GuestSink final : public devices::DeviceSink {
  public:
    explicit GuestSink(std::shared_ptr<std::string> state) : state_(std::move(state)) {}
    Status begin(const std::stop_token&) override { return {}; }
    Status load(std::span<const std::byte> chunk, const std::stop_token& stop) override;
    Status load_config(std::span<const std::byte> config, const std::stop_token& stop) override;

  private:
    std::shared_ptr<std::string> state_;
};

}  // namespace migrate::engine
