// Limits that an option shares with the wire.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/units.hpp"

namespace migrate {

// Range of multifd-packet-size: bytes of normal pages in one packet.
inline constexpr std::uint64_t kMinPacketBytes = kPageSize;
inline constexpr std::uint64_t kMaxPacketBytes = 4 * kMiB;
// Largest value of multifd-channels.
inline constexpr std::uint16_t kMaxChannels = 255;
// Most regions of memory in one migration.
inline constexpr std::size_t kMaxRegions = 256;

}  // namespace migrate
