// SPDX-License-Identifier: Apache-2.0
// multifd-normal-page-ratio, as published: of every 100 pages that a channel checks, the first
// `ratio` are sent as normal pages, whatever they hold. A page with content is never sent as a zero
// page, so the share of normal pages is "at least ratio %".
#pragma once

#include <cstdint>
#include <optional>

namespace migrate::engine {

// One per channel; a group of 100 pages continues across batches and packets.
class RatioKnob {
  public:
    // `ratio` is 0 … 100, or nothing for off.
    explicit RatioKnob(std::optional<unsigned> ratio) : ratio_(ratio.value_or(0)) {}

    // True if the next page checked must be sent as normal even if it is zero. Advances to that
    // page.
    bool force_normal() {
        const bool forced = position_ < ratio_;
        position_ = position_ + 1 == kGroup ? 0 : position_ + 1;
        return forced;
    }
    bool active() const { return ratio_ != 0; }

  private:
    static constexpr unsigned kGroup = 100;
    unsigned ratio_;
    unsigned position_ = 0;
};

}  // namespace migrate::engine
