// SPDX-License-Identifier: Apache-2.0
// Estimates how long the digest of all memory takes while the guest is stopped, from samples
// measured while the guest runs. Invariant: a sample is read by the same code and number of threads
// as the digest, and a sample starts only while all samples took at most a tenth of the time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <vector>

#include "base/error.hpp"
#include "engine/convergence/convergence_types.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::engine {

// Every stride-th block of each region, starting with block `offset`. The blocks are spread over
// all memory, so that each thread of the digest gets some.
struct BlockSample {
    static constexpr std::uint64_t kBlockPages = 2 * kMiB / kPageSize;
    std::uint64_t stride = 1;
    std::uint64_t offset = 0;  // below stride

    bool has(std::uint64_t block) const { return block % stride == offset; }
    // Calls `visit` with each block of the sample in a region of `pages` pages.
    void for_each(std::uint64_t pages, const std::function<void(PageRange)>& visit) const;
};

class DigestMeter {
  public:
    // Reports which pages of a range may be read, as PageSource::population() does. Thread-safe.
    using Readable =
        std::function<Status(RegionId, PageRange, std::vector<memory::PopulationExtent>&)>;

    // `threads`: number of threads of the digest. The source outlives the meter.
    DigestMeter(const memory::PageSource& source, unsigned threads)
        : source_(source), threads_(threads) {}

    // Returns the sample to measure next.
    BlockSample next_sample();
    // Reads the readable pages of the sample and records how long that takes; records no rate if no
    // page was readable.
    Status measure(const BlockSample& sample, const Readable& readable, std::stop_token stop);
    // True if another sample is cheap enough. `elapsed`: time since the migration became active.
    bool due(Microseconds elapsed) const { return 10 * spent_ <= elapsed; }

    // Expected time of a digest of `bytes` of memory, by the median of the last samples; 0 before
    // the first.
    Microseconds expect(std::uint64_t bytes) const;

    // Records a sample of `bytes` that took `time`, as measure() does. For tests.
    void add(std::uint64_t bytes, std::chrono::nanoseconds time);

  private:
    const memory::PageSource& source_;
    unsigned threads_;
    std::uint64_t sampled_ = 0;             // samples chosen so far
    std::uint64_t measured_ = 0;            // samples that had something to read
    std::vector<double> seconds_per_byte_;  // of the last samples, oldest first
    Microseconds spent_{};
};

}  // namespace migrate::engine
