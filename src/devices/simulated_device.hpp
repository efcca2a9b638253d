// SPDX-License-Identifier: Apache-2.0
// Simulated devices, for measurements and tests: they take as much time as real devices, and know
// every byte of their state. Invariant: load_config() succeeds only if all bytes were loaded and
// each is the byte that the seed determines.
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
