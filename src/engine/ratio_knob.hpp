// multifd-normal-page-ratio, as published: of every running group of 100 pages a channel checks,
// the first `ratio` go as normal whatever they hold. Never the reverse, so a guest's load is "at
// least ratio %".
#pragma once

#include <cstdint>
#include <optional>

namespace migrate::engine {

// One per channel; its group runs on across batches and packets.
class RatioKnob {
  public:
    // 0 … 100; nothing: off.
    explicit RatioKnob(std::optional<unsigned> ratio) : ratio_(ratio.value_or(0)) {}

    // Whether the next page checked is to be sent as normal even if it is zero.
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
