// SPDX-License-Identifier: Apache-2.0
// The counters of a running session. Each counter has one writer or is a plain sum. Reports read
// them at any time, so they are relaxed atomics: a report is a snapshot, and exact once the threads
// have ended.
#pragma once

#include <atomic>
#include <cstdint>

#include "transport/packet_builder.hpp"

namespace migrate::engine {

class PageCounters {
  public:
    void add(const transport::PageCounts& pages) {
        normal_.fetch_add(pages.normal, std::memory_order_relaxed);
        zero_.fetch_add(pages.zero, std::memory_order_relaxed);
        unpopulated_.fetch_add(pages.unpopulated, std::memory_order_relaxed);
    }
    void set(const transport::PageCounts& pages) {
        normal_.store(pages.normal, std::memory_order_relaxed);
        zero_.store(pages.zero, std::memory_order_relaxed);
        unpopulated_.store(pages.unpopulated, std::memory_order_relaxed);
    }
    transport::PageCounts get() const {
        return {normal_.load(std::memory_order_relaxed), zero_.load(std::memory_order_relaxed),
                unpopulated_.load(std::memory_order_relaxed)};
    }

  private:
    std::atomic<std::uint64_t> normal_{0};
    std::atomic<std::uint64_t> zero_{0};
    std::atomic<std::uint64_t> unpopulated_{0};
};

// One per channel, on its own cache line, since each channel updates its counters all the time.
struct alignas(64) ChannelCounters {
    PageCounters pages;
    std::atomic<std::uint64_t> packets{0};
    std::atomic<std::uint64_t> with_checksum{0};     // packets whose payload has a checksum
    std::atomic<std::uint64_t> without_checksum{0};  // and those whose payload has none
    std::atomic<std::uint64_t> payload_bytes{0};     // page content on the wire, compressed or not
    std::atomic<std::uint64_t> device_bytes{0};      // bytes of device chunks

    // A packet without a payload needs no checksum.
    void count_packet(bool has_payload, bool has_checksum) {
        packets.fetch_add(1, std::memory_order_relaxed);
        if (!has_payload) return;
        (has_checksum ? with_checksum : without_checksum).fetch_add(1, std::memory_order_relaxed);
    }
};

}  // namespace migrate::engine
