// SPDX-License-Identifier: Apache-2.0
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
// Most ids of data channels in one session: each channel that replaces a lost one has an id of its
// own (reconnect-timeout).
inline constexpr std::uint16_t kMaxChannelIds = 1024;
// multifd-channels=auto: the number at the start, which is what a peer without `auto` assumes when
// the offer has no number, and the largest number.
inline constexpr std::uint16_t kFirstAutoChannels = 2;
inline constexpr std::uint16_t kMostAutoChannels = 32;
// Most regions of memory in one migration.
inline constexpr std::size_t kMaxRegions = 256;

}  // namespace migrate
