// SPDX-License-Identifier: Apache-2.0
// "Which of these pages are zero?" is the only question that the rest of the program asks an
// accelerator. Invariant: every submitted page is answered, in the order of submission, whatever
// the hardware does; the CPU finishes inside the scanner what a device cannot answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/error.hpp"

namespace migrate::accel {

// Consecutive pages in this process's memory. `data` is page-aligned.
struct PageExtent {
    const std::byte* data = nullptr;
    std::uint32_t pages = 0;
};

// One per channel, used by one thread.
class PageScanner {
  public:
    PageScanner() = default;
    PageScanner(const PageScanner&) = delete;
    PageScanner& operator=(const PageScanner&) = delete;
    virtual ~PageScanner() = default;

    // The kernel that answers for pages without a device's answer, for reports: "avx2".
    virtual std::string_view name() const = 0;
    // Number of batches that may be submitted before the first must be collected; at least 1.
    virtual std::size_t depth() const = 0;
    // Before submit() of the same batch: looks at the pages' first bytes, if that spares a device
    // work. Holds nothing that must be released, so it may run inside guard_reads(). May be
    // left out.
    virtual void look_first(std::span<const PageExtent> batch) { static_cast<void>(batch); }
    // Starts to check a batch. The extents are copied; the pages stay mapped until the batch is
    // collected.
    virtual void submit(std::span<const PageExtent> batch) = 0;
    // Waits until the oldest submitted batch can be collected.
    virtual Status await() = 0;
    // After await(): sets bit i % 64 of zero_map[i / 64] for each page i of that batch that holds
    // only zeros, and clears it for the others. zero_map holds at least (pages + 63) / 64 words.
    // Holds nothing that must be released, so it may run inside guard_reads().
    virtual Status collect(std::span<std::uint64_t> zero_map) = 0;
};

}  // namespace migrate::accel
