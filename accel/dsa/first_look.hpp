// SPDX-License-Identifier: Apache-2.0
// Finds pages that are not zero by their first 64 bytes, so that a device need not check them.
// Invariant: where few pages are recognized, the CPU looks only at a batch now and then, because a
// look in vain costs more than it spares.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "accel/page_scanner.hpp"

namespace migrate::accel::dsa {

// One thread uses it.
class FirstLook {
  public:
    // For batches of up to `max_pages` pages.
    explicit FirstLook(std::size_t max_pages) : not_zero_((max_pages + 63) / 64) {}

    // Returns true if look() should see the next batch.
    bool is_due();
    // Reads the first 64 bytes of every page. Holds nothing that must be released, so it may run
    // inside guard_reads().
    void look(std::span<const PageExtent> batch);
    // Bit i % 64 of word i / 64 is set if page i of the last batch seen is not zero.
    std::span<const std::uint64_t> not_zero() const { return not_zero_; }

  private:
    // While less than this part of the pages is recognized, one of kInterval batches is looked at.
    static constexpr double kWorthwhile = 1.0 / 8;
    static constexpr unsigned kInterval = 64;

    std::vector<std::uint64_t> not_zero_;
    unsigned batches_ = 0;
    double rate_ = 1;  // part of the pages that was recognized lately
};

}  // namespace migrate::accel::dsa
