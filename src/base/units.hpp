// SPDX-License-Identifier: Apache-2.0
// The types that cross module borders: pages, regions, channels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace migrate {

// The unit of all accounting and of the wire: the guest's 4 KiB page (QEMU's target page on x86),
// whatever page size backs it on either host.
inline constexpr std::uint64_t kPageSize = 4096;
inline constexpr std::uint64_t kHugePageSize = std::uint64_t{2} << 20;
inline constexpr std::uint64_t kPagesPerHugePage = kHugePageSize / kPageSize;

inline constexpr std::uint64_t kKiB = std::uint64_t{1} << 10;
inline constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

// Index of a memory region (a RAM block), in the order of the handshake's list.
enum class RegionId : std::uint16_t {};
// Number of a multifd channel, 0 … multifd-channels − 1; the main channel has none.
enum class ChannelId : std::uint16_t {};

constexpr std::uint16_t index_of(RegionId id) { return static_cast<std::uint16_t>(id); }
constexpr std::uint16_t index_of(ChannelId id) { return static_cast<std::uint16_t>(id); }

// Pages [first, first + count) of one region.
struct PageRange {
    std::uint64_t first = 0;
    std::uint64_t count = 0;

    constexpr std::uint64_t end() const { return first + count; }
    constexpr std::uint64_t offset_bytes() const { return first * kPageSize; }
    constexpr std::uint64_t size_bytes() const { return count * kPageSize; }
    friend constexpr bool operator==(const PageRange&, const PageRange&) = default;
};

// The content that the sender found in a page. kZero is `duplicate` in QEMU's statistics.
enum class PageKind : std::uint8_t {
    kNormal = 0,       // has content, which follows in the packet
    kZero = 1,         // was read and holds only zeros (or is known to be the kernel's zero page)
    kUnpopulated = 2,  // was never written to, so it is not read
};

// Consecutive pages of one kind.
struct PageRun {
    PageRange pages;
    PageKind kind = PageKind::kNormal;
    friend constexpr bool operator==(const PageRun&, const PageRun&) = default;
};

// A region as both sides agree on it in the handshake.
struct RegionInfo {
    std::string name;              // e.g. "ram"; 1 … 255 bytes
    std::uint64_t size_bytes = 0;  // a multiple of kPageSize, > 0

    std::uint64_t pages() const { return size_bytes / kPageSize; }
};

inline std::uint64_t total_bytes(std::span<const RegionInfo> regions) {
    std::uint64_t total = 0;
    for (const RegionInfo& region : regions) total += region.size_bytes;
    return total;
}

}  // namespace migrate
