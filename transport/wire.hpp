// SPDX-License-Identifier: Apache-2.0
// The binary layouts of the protocol: connection hello, packet header, run list. PROTOCOL.md shows
// them. Invariant: decoding trusts nothing; it allocates no more than the given limits and reads no
// byte beyond its span. All integers are little-endian.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/config/choices.hpp"
#include "base/error.hpp"
#include "base/limits.hpp"
#include "base/units.hpp"
#include "transport/session_id.hpp"

namespace migrate::transport {

// Incremented whenever an old peer would misread a new one; see the version rule in PROTOCOL.md.
inline constexpr std::uint16_t kProtocolVersion = 2;

enum class ConnectionRole : std::uint8_t {
    kMain = 0,
    kData = 1,
    kResume = 2,    // the main channel again, after its connection was lost
    kPostcopy = 3,  // pages of a guest that runs at the receiver already; see page_message.hpp
};

// The first bytes of every connection; the sender sends them.
struct ConnectionHello {
    std::uint16_t version = kProtocolVersion;
    ConnectionRole role = ConnectionRole::kMain;
    ChannelId channel{};  // kData; kPostcopy: 0 for urgent pages, 1 for all others
    // kData, kResume: how often the sender has tried to make the main channel again. kPostcopy: the
    // same number for both connections of an attempt.
    std::uint16_t epoch = 0;
    // all but kMain: from ACCEPT, so that a stranger cannot join.
    SessionId session{};
};
inline constexpr std::size_t kHelloSize = 32;
using HelloBytes = std::array<std::byte, kHelloSize>;

HelloBytes encode_hello(const ConnectionHello& hello);
// The caller must compare the version. All versions keep the layout of the first 8 bytes.
Result<ConnectionHello> decode_hello(std::span<const std::byte, kHelloSize> bytes);

enum class PacketKind : std::uint8_t {
    kPages = 1,
    kSync = 2,         // end of a round on this channel
    kDeviceState = 3,  // a chunk of a device's state; its own header replaces the run list
};

using migrate::Compression;
using migrate::name_of;

struct PacketHeader {
    PacketKind kind = PacketKind::kPages;
    Compression compression = Compression::kNone;
    std::uint16_t run_bytes = 0;  // length of the run list that follows the header
    RegionId region{};
    std::uint32_t round = 0;          // counted from 1
    std::uint32_t sequence = 0;       // number of this packet on its channel, from 0
    std::uint64_t first_page = 0;     // first page of the first run
    std::uint32_t normal_pages = 0;   // pages whose content the payload holds
    std::uint32_t payload_bytes = 0;  // bytes after the runs; below the pages' size if compressed
    bool has_checksum = false;        // the payload's checksum follows the payload
};
inline constexpr std::size_t kPacketHeaderSize = 40;
using PacketHeaderBytes = std::array<std::byte, kPacketHeaderSize>;

// A packet's run list is no longer than this, so a reader's buffer has a fixed size.
inline constexpr std::size_t kMaxRunBytes = 8192;

// The checksums of payloads that the handshake agreed on.
enum class PayloadChecksums {
    kNone,
    kSome,  // packets may come without one: the sender sends memory that changes meanwhile
    kAll,   // every payload has one
};

// The results of the handshake, against which packets are checked.
struct PacketLimits {
    std::uint64_t packet_bytes = 0;
    Compression compression = Compression::kNone;
    std::span<const RegionInfo> regions;
    bool device_state = false;  // device chunks may come
    PayloadChecksums checksums = PayloadChecksums::kNone;
};

// The header's checksum covers the header and the run list.
PacketHeaderBytes encode_packet_header(const PacketHeader& header, std::span<const std::byte> runs);
Result<PacketHeader> decode_packet_header(std::span<const std::byte, kPacketHeaderSize> bytes,
                                          const PacketLimits& limits);
// `following` is the header.run_bytes bytes after the header, whatever they contain.
Status check_packet_checksum(std::span<const std::byte, kPacketHeaderSize> header_bytes,
                             std::span<const std::byte> following);
// Decodes a run list whose first run begins at `first_page`, with or without skipped pages.
// Replaces the content of `out`; its runs are in ascending order, within the region, without
// overlap.
Status decode_run_list(std::uint64_t first_page, std::span<const std::byte> runs,
                       const RegionInfo& region, std::vector<PageRun>& out);
// `runs` is the header.run_bytes bytes after the header. Replaces the content of `out`; its runs
// are in ascending order, within the region, without overlap, and hold header.normal_pages normal
// pages.
Status decode_runs(std::span<const std::byte, kPacketHeaderSize> header_bytes,
                   const PacketHeader& header, std::span<const std::byte> runs,
                   const PacketLimits& limits, std::vector<PageRun>& out);

// Appends runs to a run list: each is a LEB128 number, count × 4 + code (normal 0, zero 1,
// unpopulated 2, skip 3: pages that this packet does not cover).
class RunListEncoder {
  public:
    RunListEncoder() { bytes_.reserve(kMaxRunBytes); }

    // Removes all runs; the next one begins at or after `first_page`.
    void restart(std::uint64_t first_page);
    bool empty() const { return bytes_.empty() && pending_count_ == 0; }
    std::uint64_t first_page() const { return first_page_; }
    // Returns the page after the last run.
    std::uint64_t position() const { return position_; }
    // Returns false and adds nothing if the list could exceed kMaxRunBytes. `run.pages.first` ≥
    // position().
    bool append(const PageRun& run);
    // Returns the complete list; no append() until restart().
    std::span<const std::byte> finish();

  private:
    void flush();
    void push(std::uint8_t code, std::uint64_t count);

    std::vector<std::byte> bytes_;
    std::uint64_t first_page_ = 0;
    std::uint64_t position_ = 0;
    std::uint64_t pending_count_ = 0;
    std::uint8_t pending_code_ = 0;
};

}  // namespace migrate::transport
