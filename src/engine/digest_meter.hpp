// What the digest of all memory will take while the guest stands still, measured on samples of it
// while the guest runs. Invariant: a sample is read by the same code and as many threads as the
// digest, and samples take at most a tenth of the time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <vector>

#include "base/error.hpp"
#include "engine/convergence_types.hpp"
#include "memory/page_source.hpp"

namespace migrate::engine {

// Every stride-th block of each region, from `offset` on: spread over all memory, so that each
// thread of the digest meets some.
struct BlockSample {
    static constexpr std::uint64_t kBlockPages = 2 * kMiB / kPageSize;
    std::uint64_t stride = 1;
    std::uint64_t offset = 0;  // below stride

    bool has(std::uint64_t block) const { return block % stride == offset; }
    // Calls `visit` with each of its blocks in a region of so many pages.
    void for_each(std::uint64_t pages, const std::function<void(PageRange)>& visit) const;
};

class DigestMeter {
  public:
    // The pages of a range that may be read, as PageSource::population() has them. Thread-safe.
    using Readable =
        std::function<Status(RegionId, PageRange, std::vector<memory::PopulationExtent>&)>;

    // `threads`: those of the digest. The source outlives the meter.
    DigestMeter(const memory::PageSource& source, unsigned threads)
        : source_(source), threads_(threads) {}

    // What to read next.
    BlockSample next_sample();
    // Reads what is readable of the sample and keeps what that took; nothing if there was nothing.
    Status measure(const BlockSample& sample, const Readable& readable, std::stop_token stop);
    // Whether measuring again is cheap enough. `elapsed`: since the migration became active.
    bool due(Microseconds elapsed) const { return 10 * spent_ <= elapsed; }

    // For so much memory, by the second largest of the last samples (of two, the largest): on a
    // host with too much to do samples differ, and a digest that is longer than a sample meets all
    // that holds them up. 0 before the first.
    Microseconds expect(std::uint64_t bytes) const;

    // As measure() does. For tests.
    void add(std::uint64_t bytes, std::chrono::nanoseconds time);

  private:
    const memory::PageSource& source_;
    unsigned threads_;
    std::uint64_t sampled_ = 0;             // samples that were chosen
    std::uint64_t measured_ = 0;            // … and had something to read
    std::vector<double> seconds_per_byte_;  // of the last samples, in their order
    Microseconds spent_{};
};

}  // namespace migrate::engine
