// Gathers runs of pages into one packet: its run list and, for normal pages, where their content
// lies. Invariant: a packet holds at most the agreed number of normal pages, of one region, in
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

// How many pages of each kind; sums of these are what the statistics are made of.
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
    // True when it can hold no further normal page.
    bool full() const { return counts_.normal == max_normal_pages_; }

    // Adds as many of the run's pages as fit, from its first on, and returns how many; 0 says: send
    // this packet first. `content` is where the run's first page lies; not looked at unless the run
    // is normal.
    std::uint64_t add(RegionId region, const PageRun& run, const std::byte* content);

    RegionId region() const { return region_; }
    std::uint64_t first_page() const { return runs_.first_page(); }
    const PageCounts& counts() const { return counts_; }
    std::span<const iovec> payload() const { return payload_; }
    // The encoded runs; no add() until clear().
    std::span<const std::byte> finish_runs() { return runs_.finish(); }

    void clear();

  private:
    std::uint64_t max_normal_pages_;
    RegionId region_{};
    RunListEncoder runs_;
    PageCounts counts_;
    std::vector<iovec> payload_;
};

}  // namespace migrate::transport
