// SPDX-License-Identifier: Apache-2.0
// The pages that a session has made present in this process. Invariant: a page is prefaulted once,
// and again only after the guest gave it back: prefaulting a present page costs more than checking
// it.
#pragma once

#include <vector>

#include "base/error.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::engine {

// Several threads may use it for different pages.
class PrefaultedPages {
  public:
    static Result<PrefaultedPages> create(const memory::PageSource& source);

    // Makes the pages of `range` present that are not known to be.
    Status prefault(const memory::PageSource& source, RegionId region, PageRange range);
    // Notes that the pages may be absent again.
    void forget(RegionId region, PageRange range);

  private:
    explicit PrefaultedPages(std::vector<memory::PageBitmap> present)
        : present_(std::move(present)) {}

    std::vector<memory::PageBitmap> present_;  // one per region
};

}  // namespace migrate::engine
