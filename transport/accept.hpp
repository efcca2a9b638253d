// SPDX-License-Identifier: Apache-2.0
// The receiver's answer to an offer that it accepts. Invariant: a decoded answer holds only values
// in range; an unknown key is ignored.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "transport/session_id.hpp"

namespace migrate::transport {

using ReuseKey = std::array<std::byte, 192>;

struct Accept {
    SessionId session{};
    std::string program;
    std::string sink;           // description of the sink, for the sender's log
    bool device_state = false;  // device chunks go on the data channels
    // multifd-channels=auto: the most data channels that the receiver takes, 1 … kMaxChannels.
    // Nothing from a receiver that takes only those of the offer.
    std::optional<std::uint16_t> most_channels{};
    // Packets have a checksum of their payload (packet-checksum). Nothing from a receiver that does
    // not know it.
    std::optional<bool> checksums{};
    // The receiver has pages that need not be sent (reuse, resume): the key of the digests by which
    // the sender asks for them (memory/digest_key.hpp).
    std::optional<ReuseKey> reuse_key{};
    // The receiver's io-timeout; range and default as in the offer.
    std::optional<std::chrono::milliseconds> io_timeout{};
    // The session survives lost data channels: the offer's reconnect-timeout. Nothing from a
    // receiver that does not know it, or if the offer has none.
    std::optional<std::chrono::milliseconds> reconnect_timeout{};
    // Texts that the sender's user should read before the first page; at most kMaxWarnings, each
    // cut to kMaxWarning bytes.
    std::vector<std::string> warnings{};
};
inline constexpr std::size_t kMaxWarnings = 4;
inline constexpr std::size_t kMaxWarning = 1024;

std::string encode(const Accept& message);
// Fails with kProtocol.
Result<Accept> decode_accept(std::string_view body);

}  // namespace migrate::transport
