// SPDX-License-Identifier: Apache-2.0
// Sends pages of a guest that is paused for good over a connection of post-copy: pages without
// content cost no page on the wire. Each thread has one of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "accel/zero_kernel.hpp"
#include "base/error.hpp"
#include "base/units.hpp"
#include "engine/postcopy/page_connection.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::engine {

// The pages that were sent or placed. Any thread.
struct PostcopyPages {
    std::atomic<std::uint64_t> normal{0};
    std::atomic<std::uint64_t> zero{0};
};

class PageSender {
  public:
    // `source` is mapped; it and `sent` outlive this object.
    PageSender(const memory::PageSource& source, const accel::ZeroKernel& zeros,
               PostcopyPages& sent)
        : source_(source), zeros_(zeros), sent_(sent) {}

    // Sends all of these pages.
    Status send(PageConnection& to, RegionId region, PageRange pages);
    // The first part of `pages` that is worth one step: pages that were never written, or not too
    // many pages to read.
    Result<PageRange> first_part(RegionId region, PageRange pages);

  private:
    Status send_populated(PageConnection& to, RegionId region, PageRange pages);
    Status send_content(PageConnection& to, RegionId region, PageRange pages);
    Status send_zeros(PageConnection& to, RegionId region, PageRange pages);

    const memory::PageSource& source_;
    const accel::ZeroKernel& zeros_;
    PostcopyPages& sent_;
    std::vector<memory::PopulationExtent> extents_;
};

}  // namespace migrate::engine
