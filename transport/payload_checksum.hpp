// SPDX-License-Identifier: Apache-2.0
// The checksum of a packet's payload (XXH3, 64 bits): of the bytes as they are on the wire, then of
// the checksum that the packet's header ends with, so that a payload cannot pass with another
// packet's header. It detects damage on the way, but not an attacker.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "transport/wire.hpp"

struct XXH3_state_s;

namespace migrate::transport {

inline constexpr std::size_t kPayloadChecksumSize = 8;
using PayloadChecksumBytes = std::array<std::byte, kPayloadChecksumSize>;

// Used by one thread, for one packet after the other.
class PayloadChecksum {
  public:
    PayloadChecksum();

    // Begins a packet.
    void restart();
    // Adds the next bytes of the payload.
    void add(std::span<const std::byte> bytes);
    void add(std::span<const iovec> parts);
    // Copies the next bytes of the payload to `to` and adds the copy. `parts` may change meanwhile.
    void add_copy(std::span<const iovec> parts, std::byte* to);
    // Returns the checksum as it is on the wire; the packet has this header.
    PayloadChecksumBytes finish(const PacketHeaderBytes& header);
    // Returns the checksum of what was added, for a frame.
    PayloadChecksumBytes finish() const;

  private:
    struct Free {
        void operator()(XXH3_state_s* state) const;
    };
    std::unique_ptr<XXH3_state_s, Free> state_;
};

// kProtocol if the two differ.
Status compare_checksums(const PayloadChecksumBytes& expected, const PayloadChecksumBytes& got);

}  // namespace migrate::transport
