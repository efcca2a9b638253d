// SPDX-License-Identifier: Apache-2.0
// Device code that both sides' sessions share: how devices are described in the handshake, and the
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
// Reads the devices of a peer's offer. An Error names the device that this host does not know.
Result<std::vector<devices::DeviceSpec>> devices_from_offer(
    std::span<const transport::OfferedDevice> offered);

// Returns the guest of that kind as a device.
devices::DeviceSpec guest_device(std::string_view kind);
// `save` returns the state. Called by the device's thread while the last of the memory is sent;
// without device state on the channels, by the session's thread afterwards.
using SaveGuest = std::function<Result<std::string>()>;
std::unique_ptr<devices::DeviceSource> make_guest_source(SaveGuest save);

// Keeps the state for the session, which loads it when memory is in place. kProtocol if the state
// would exceed guest::kMaxStateBytes.
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
