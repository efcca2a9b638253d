// SPDX-License-Identifier: Apache-2.0
// The pages that the receiver of a guest in post-copy still lacks, in the order in which the sender
// sends them: a page that the guest waits for comes first, and the others follow from there on.
// Invariant: a page is taken once, until replace(). Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "base/units.hpp"
#include "memory/page_bitmap.hpp"

namespace migrate::engine {

class PageQueue {
  public:
    // `regions` outlives the queue, which is empty at first.
    static Result<std::unique_ptr<PageQueue>> create(std::span<const RegionInfo> regions);

    // Adds pages, which lie within the region; returns how many were not in the queue.
    std::uint64_t add(RegionId region, PageRange pages);
    // The parts of `pages` that are not in the queue.
    std::vector<PageRange> absent(RegionId region, PageRange pages) const;
    std::uint64_t pages() const;
    // Removes all pages.
    void clear();

    // The guest waits for this page: takes it, and lets next() go on after it. Returns false if it
    // is not in the queue.
    bool take_urgent(RegionId region, std::uint64_t page);

    struct Span {
        RegionId region{};
        PageRange pages;
    };
    // The next pages to send, at most `most` and without a gap; nothing if the queue is empty. They
    // stay in the queue.
    std::optional<Span> next(std::uint64_t most) const;
    // Takes those of `pages` that are in the queue, up to the first that is not; returns how many.
    std::uint64_t take(RegionId region, PageRange pages);

  private:
    PageQueue(std::span<const RegionInfo> regions, std::vector<memory::PageBitmap> pending)
        : regions_(regions), pending_(std::move(pending)) {}
    std::optional<Span> find(std::size_t region, std::uint64_t from, std::uint64_t most) const
        REQUIRES(mutex_);

    const std::span<const RegionInfo> regions_;
    mutable Mutex mutex_;
    std::vector<memory::PageBitmap> pending_ GUARDED_BY(mutex_);
    std::uint64_t pages_ GUARDED_BY(mutex_) = 0;
    // next() begins here.
    std::size_t region_ GUARDED_BY(mutex_) = 0;
    std::uint64_t page_ GUARDED_BY(mutex_) = 0;
};

}  // namespace migrate::engine
