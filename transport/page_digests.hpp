// SPDX-License-Identifier: Apache-2.0
// The bodies of PAGE_DIGESTS, with which the sender asks for pages that the receiver has already,
// and of the answer PAGES_REUSED. Invariant: a decoded body names at most kMostDigests pages, in
// ascending order and within their region, and has a digest or a bit for each of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/units.hpp"
#include "transport/wire.hpp"

namespace migrate::transport {

// Pages that one frame asks for: 64 KiB of digests.
inline constexpr std::size_t kMostDigests = 4096;
// The sender has at most this many unanswered frames.
inline constexpr std::size_t kMostUnansweredDigests = 4;

// 128 bits.
struct PageDigest {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    friend bool operator==(const PageDigest&, const PageDigest&) = default;
};

struct PageDigests {
    RegionId region{};
    std::vector<PageRange> pages;     // not adjacent to each other
    std::vector<PageDigest> digests;  // of the pages, in their order
};

// Collects the digests of one frame.
class PageDigestsBuilder {
  public:
    bool empty() const { return digests_.empty(); }
    // Returns false, and adds nothing, if the frame must be sent first: it is full, or of another
    // region. Pages of a region come in ascending order.
    bool add(RegionId region, std::uint64_t page, const PageDigest& digest);
    // The pages that were added.
    std::span<const PageRange> pages() const { return pages_; }
    // Returns the body, and begins the next one.
    std::string take();

  private:
    RegionId region_{};
    RunListEncoder runs_;
    std::vector<PageRange> pages_;
    std::vector<PageDigest> digests_;
};

// Fails with kProtocol.
Result<PageDigests> decode_page_digests(std::string_view body, std::span<const RegionInfo> regions);

// One bit for each page that was asked for, in the order of the question: true if the receiver has
// the page.
std::string encode_pages_reused(const std::vector<bool>& reused);
// `asked`: number of pages. Fails with kProtocol.
Result<std::vector<bool>> decode_pages_reused(std::string_view body, std::size_t asked);

}  // namespace migrate::transport
