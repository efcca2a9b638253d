// SPDX-License-Identifier: Apache-2.0
// Pages that a receiver has before any arrives: of an earlier image, or of this one from a transfer
// that broke off. Invariant: nothing depends on what they hold. A page is used only if the digest
// of the bytes that were read is the sender's.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/units.hpp"

namespace migrate::memory {

// Appends pages to ranges in ascending order, merged with the last range if they continue it.
inline void append_pages(PageRange pages, std::vector<PageRange>& ranges) {
    if (pages.count == 0) return;
    if (!ranges.empty() && ranges.back().end() == pages.first) {
        ranges.back().count += pages.count;
    } else {
        ranges.push_back(pages);
    }
}

class KnownPages {
  public:
    KnownPages() = default;
    KnownPages(const KnownPages&) = delete;
    KnownPages& operator=(const KnownPages&) = delete;
    virtual ~KnownPages() = default;

    // Reads the pages of `range` that are known here to their places in `to`, which has room for
    // all of it, and appends them to `known`, in order. A page that cannot be read is not known.
    // Thread-safe.
    virtual void read(RegionId region, PageRange range, std::span<std::byte> to,
                      std::vector<PageRange>& known) const = 0;
};

// The pages that lie in the sink already, at their places. Each is either confirmed, and stays, or
// given up before it is overwritten.
class PartialPages : public KnownPages {
  public:
    // The sender has the same content. Thread-safe.
    virtual void confirm(RegionId region, PageRange pages) = 0;
    // These pages, as far as they are not confirmed, may be overwritten after this call.
    virtual Status give_up(RegionId region, std::span<const PageRange> pages) = 0;
    // The same for all pages. Called before the first round.
    virtual Status give_up_rest() = 0;
};

}  // namespace migrate::memory
