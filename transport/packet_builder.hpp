// SPDX-License-Identifier: Apache-2.0
// Gathers runs of pages into one packet: its run list and, for normal pages, the addresses of their
// content. Invariant: a packet holds at most the agreed number of normal pages, of one region, in
// ascending order.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/units.hpp"
#include "transport/wire.hpp"

namespace migrate::transport {

// Number of pages of each kind; the statistics are sums of these.
struct PageCounts {
    std::uint64_t normal = 0;
    std::uint64_t zero = 0;
    std::uint64_t unpopulated = 0;

    std::uint64_t total() const { return normal + zero + unpopulated; }
    void add(const PageRun& run);
    PageCounts& operator+=(const PageCounts& other);
    friend bool operator==(const PageCounts&, const PageCounts&) = default;
};

class PacketBuilder {
  public:
    // `packet_bytes`: kMinPacketBytes … kMaxPacketBytes.
    explicit PacketBuilder(std::uint64_t packet_bytes);

    bool empty() const { return runs_.empty(); }
    // True if it can hold no further normal page.
    bool full() const { return counts_.normal == max_normal_pages_; }

    // Adds as many of the run's pages as fit, from the first on, and returns their number; 0 means
    // that this packet must be sent first. `content` is the address of the run's first page; it is
    // used only if the run is normal.
    std::uint64_t add(RegionId region, const PageRun& run, const std::byte* content);

    RegionId region() const { return region_; }
    std::uint64_t first_page() const { return runs_.first_page(); }
    const PageCounts& counts() const { return counts_; }
    std::span<const iovec> payload() const { return payload_; }
    // The pages whose content the payload holds, in its order.
    std::span<const PageRange> normal_pages() const { return normal_pages_; }
    // Returns the encoded runs; no add() until clear().
    std::span<const std::byte> finish_runs() { return runs_.finish(); }

    void clear();

  private:
    std::uint64_t max_normal_pages_;
    RegionId region_{};
    RunListEncoder runs_;
    PageCounts counts_;
    std::vector<iovec> payload_;
    std::vector<PageRange> normal_pages_;  // neighbours are one
};

}  // namespace migrate::transport
