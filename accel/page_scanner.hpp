// "Which of these pages are zero?": the one question the rest of the program asks an accelerator.
// Invariant: every page submitted is answered, in the order of submission, whatever the hardware
// does; what a device cannot answer is finished by the CPU inside the scanner.
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

    // The kernel that answers where no device does, for reports: "avx2".
    virtual std::string_view name() const = 0;
    // How many batches may be submitted before the first must be collected; at least 1.
    virtual std::size_t depth() const = 0;
    // Begins to check a batch. The extents are copied; their memory stays mapped until the batch is
    // collected.
    virtual void submit(std::span<const PageExtent> batch) = 0;
    // Waits until the oldest batch submitted can be collected.
    virtual Status await() = 0;
    // After await(): sets bit i % 64 of zero_map[i / 64] for each page i of that batch that holds
    // only zeros, and clears it for the others. zero_map holds at least (pages + 63) / 64 words.
    // Reads memory as memory::guard_reads() may be left: nothing is held that must be given back.
    virtual Status collect(std::span<std::uint64_t> zero_map) = 0;
};

}  // namespace migrate::accel
