// SPDX-License-Identifier: Apache-2.0
// The messages of post-copy, on the two connections that carry pages while the guest runs at the
// receiver already. Invariant: a decoded message comes from the right side, and its pages lie
// within a region of the migration. PROTOCOL.md shows the layout.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.hpp"
#include "base/units.hpp"
#include "transport/payload_checksum.hpp"
#include "transport/sequence.hpp"
#include "transport/wire.hpp"

namespace migrate::transport {

enum class PageMessageKind : std::uint8_t {
    // from the sender
    kPages = 1,      // `count` pages from `page` on; their content follows
    kZeroPages = 2,  // the same for pages that are zeros
    kPing = 3,       // still alive
    kBye = 4,        // kPlaced came; the last message
    // from the receiver
    kReady = 16,      // the receiver can take the guest
    kState = 17,      // pages that are missing; a body as that of ROUND_ARRIVED follows
    kGuestRuns = 18,  // the guest runs; `count` is 1 if all kState messages came before, else 0
    kWanted = 19,     // the guest waits for `page`
    kPong = 20,       // answers kPing
    kPlaced = 21,     // every page is in place; its last message
};

struct PageMessage {
    PageMessageKind kind = PageMessageKind::kPing;
    RegionId region{};
    std::uint32_t count = 0;
    std::uint64_t page = 0;
    std::uint32_t payload_bytes = 0;

    PageRange pages() const { return {page, count}; }
};

inline constexpr std::size_t kPageMessageSize = 32;
// Most pages whose content is in one message.
inline constexpr std::uint32_t kMostPagesPerMessage = 64;
inline constexpr std::size_t kMostPagePayload = kMostPagesPerMessage * kPageSize;
using PageMessageBytes = std::array<std::byte, kPageMessageSize>;

// `checksum` is used for this message only.
PageMessageBytes encode_page_message(const PageMessage& message, std::span<const std::byte> payload,
                                     PayloadChecksum& checksum);
// Checks everything but the checksum, which also covers the payload. Fails with kProtocol.
Result<PageMessage> decode_page_message(const PageMessageBytes& bytes, Party from,
                                        std::span<const RegionInfo> regions);
// kProtocol if the checksum is wrong.
Status check_page_message(const PageMessageBytes& bytes, std::span<const std::byte> payload,
                          PayloadChecksum& checksum);

}  // namespace migrate::transport
