// What the devices of a migration and the wire that carries their state agree on.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/units.hpp"

namespace migrate {

// Of a chunk, the configuration chunk too (QEMU's VFIO chunks are at most 1 MiB as well).
inline constexpr std::size_t kMaxDeviceChunkBytes = kMiB;
inline constexpr std::size_t kMaxDeviceNameBytes = 63;
// In one migration; each has a thread on either side.
inline constexpr std::size_t kMaxDevices = 64;

// 1 … kMaxDeviceNameBytes letters, digits and "._:-", so that it can stand in any message.
bool is_device_name(std::string_view name);

}  // namespace migrate
