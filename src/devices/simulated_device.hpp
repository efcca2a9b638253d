// Devices that are none, for measuring and for tests: they take the time that real ones take, and
// know every byte of their state. Invariant: load_config() succeeds only if each byte that was
// loaded is the one that the seed says, and all were.
#pragma once

#include <memory>

#include "devices/busy_time.hpp"
#include "devices/device.hpp"
#include "devices/simulated_spec.hpp"

namespace migrate::devices {

std::unique_ptr<DeviceSource> make_simulated_source(const DeviceId& id, const SimulatedSpec& spec,
                                                    std::shared_ptr<SharedBus> bus);
std::unique_ptr<DeviceSink> make_simulated_sink(const DeviceId& id, const SimulatedSpec& spec,
                                                std::shared_ptr<SharedBus> bus);

}  // namespace migrate::devices
