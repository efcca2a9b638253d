// SPDX-License-Identifier: Apache-2.0
// How the content of a packet's normal pages goes on the wire: from where it is, as a copy, or
// compressed; with or without a checksum. Invariants: a checksum is never computed of memory that
// may change before it is sent; memory that the kernel may read later is the guest's own, and
// nothing of this object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/page_buffer.hpp"
#include "base/units.hpp"
#include "engine/send/sent_pages.hpp"
#include "transport/compressor.hpp"
#include "transport/packet_builder.hpp"
#include "transport/payload_checksum.hpp"
#include "transport/socket.hpp"
#include "transport/wire.hpp"

namespace migrate::engine {

// Used by one thread.
class PacketPayload {
  public:
    // `compressor` may be null. If `copies` is set, pages are sent from a copy, which it gets.
    PacketPayload(std::unique_ptr<transport::Compressor> compressor, SentPages* copies);

    // From now on pages of the regions for which `regions` is true may be sent without a copy
    // (Socket::send_in_place()).
    void send_in_place(std::vector<bool> regions) { in_place_ = std::move(regions); }
    // From now on payloads have checksums. `changing`, by region: its pages are sent from where
    // they are, and may change meanwhile. `all`: payloads that are sent in place from such a region
    // have one, too; then they are copied.
    void add_checksums(std::vector<bool> changing, bool all);

    // The properties of a payload that the packet's header names.
    struct Form {
        transport::Compression compression = transport::Compression::kNone;
        std::uint64_t bytes = 0;
        bool has_checksum = false;
    };
    // Prepares the payload of this packet. `avoids_copies`: Socket::avoids_copies() of the socket
    // that it is for.
    Result<Form> prepare(const transport::PacketBuilder& packet, bool avoids_copies);
    // Sends the packet that was prepared.
    Status send(transport::Socket& socket, const transport::PacketHeaderBytes& header,
                std::span<const std::byte> runs);

  private:
    bool may_change(RegionId region) const;
    bool goes_in_place(const transport::PacketBuilder& packet) const;
    // False if compression is not worth trying for this packet.
    Result<bool> may_shrink(std::span<const iovec> content);
    Status prepare_compressed(std::span<const iovec> content);
    Status prepare_copy(const transport::PacketBuilder& packet);
    Status add_parts();

    std::unique_ptr<transport::Compressor> compressor_;
    SentPages* copies_;
    std::vector<bool> in_place_;  // by region; empty: none is
    std::optional<transport::PayloadChecksum> checksum_;
    std::vector<bool> changing_;
    bool all_ = false;
    // The packet being sent.
    Form form_;
    bool sent_in_place_ = false;
    bool hashed_ = false;       // checksum_ has the content
    std::vector<iovec> parts_;  // [header, runs, content …]
    PageBuffer copy_;           // of the content, at its begin
    transport::PayloadChecksumBytes trailer_{};
};

}  // namespace migrate::engine
