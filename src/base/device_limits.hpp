// SPDX-License-Identifier: Apache-2.0
// Limits that the devices of a migration share with the wire that carries their state.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/units.hpp"

namespace migrate {

// Largest chunk, including the configuration chunk (QEMU's VFIO chunks are also at most 1 MiB).
inline constexpr std::size_t kMaxDeviceChunkBytes = kMiB;
inline constexpr std::size_t kMaxDeviceNameBytes = 63;
// Most devices in one migration; each has a thread on either side.
inline constexpr std::size_t kMaxDevices = 64;

// True for 1 … kMaxDeviceNameBytes letters, digits and "._:-", so that a name can be part of any
// message.
bool is_device_name(std::string_view name);

}  // namespace migrate
