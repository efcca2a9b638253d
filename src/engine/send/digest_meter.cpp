// SPDX-License-Identifier: Apache-2.0
#include "engine/send/digest_meter.hpp"

#include <algorithm>
#include <atomic>
#include <functional>

#include "memory/region_digest.hpp"

namespace migrate::engine {
namespace {

using Clock = std::chrono::steady_clock;

// Sample size per thread: it takes a few milliseconds to read, and exceeds a thread's share of the
// CPU's caches.
constexpr std::uint64_t kSampleBytes = 16 * kMiB;
constexpr std::size_t kKeptSamples = 5;
// With this many samples the largest may be one during which the machine was held up once, so the
// second largest counts.
constexpr std::size_t kLargestMayBeOutlier = 3;
// Both sides compute the digest at the same time, perhaps on the same host.
constexpr double kBothSides = 2;

// The source reduced to the pages of the sample, as the digest reads it.
class SampledSource final : public memory::PageSource {
  public:
    SampledSource(const PageSource& source, const BlockSample& sample,
                  const DigestMeter::Readable& readable)
        : source_(source), sample_(sample), readable_(readable) {}

    std::string_view description() const override { return source_.description(); }
    std::span<const RegionInfo> regions() const override { return source_.regions(); }
    bool is_mapped(RegionId region) const override { return source_.is_mapped(region); }
    std::span<const std::byte> memory(RegionId region) const override {
        return source_.memory(region);
    }
    Status read(RegionId region, PageRange range, std::byte* to) const override {
        return source_.read(region, range, to);
    }
    Status population(RegionId region, PageRange range,
                      std::vector<memory::PopulationExtent>& extents) const override {
        memory::PopulationBuilder builder(range, extents);
        std::vector<memory::PopulationExtent> readable;
        std::uint64_t next = range.first;
        while (next < range.end()) {
            const std::uint64_t block = next / BlockSample::kBlockPages;
            const PageRange part{
                next, std::min((block + 1) * BlockSample::kBlockPages, range.end()) - next};
            next = part.end();
            if (!sample_.has(block)) continue;
            builder.extend_to(part.first, false);
            readable.clear();
            MIGRATE_TRY(readable_(region, part, readable));
            for (const memory::PopulationExtent& extent : readable) {
                builder.extend_to(extent.pages.end(), extent.populated);
                if (extent.populated) bytes_ += extent.pages.size_bytes();
            }
        }
        builder.extend_to(range.end(), false);
        return {};
    }
    bool populated_is_present() const override { return source_.populated_is_present(); }
    Status prefault(RegionId region, PageRange range) const override {
        return source_.prefault(region, range);
    }
    std::uint64_t bytes() const { return bytes_; }

  private:
    const PageSource& source_;
    const BlockSample& sample_;
    const DigestMeter::Readable& readable_;
    mutable std::atomic<std::uint64_t> bytes_{0};
};

}  // namespace

void BlockSample::for_each(std::uint64_t pages, const std::function<void(PageRange)>& visit) const {
    for (std::uint64_t first = offset * kBlockPages; first < pages; first += stride * kBlockPages) {
        visit({first, std::min(kBlockPages, pages - first)});
    }
}

BlockSample DigestMeter::next_sample() {
    const std::uint64_t stride =
        std::max<std::uint64_t>(1, total_bytes(source_.regions()) / (kSampleBytes * threads_));
    return {stride, sampled_++ % stride};
}

Status DigestMeter::measure(const BlockSample& sample, const Readable& readable,
                            std::stop_token stop) {
    const SampledSource source(source_, sample, readable);
    const Clock::time_point began = Clock::now();
    auto digests = memory::digest_source(source, threads_, std::move(stop));
    if (!digests) return std::move(digests).error();
    add(source.bytes(), Clock::now() - began);
    return {};
}

void DigestMeter::add(std::uint64_t bytes, std::chrono::nanoseconds time) {
    spent_ += std::chrono::ceil<Microseconds>(time);
    if (bytes == 0) return;
    // The first sample reads memory that nothing has read before; a round has read the memory of
    // later samples. So later samples replace the first.
    if (++measured_ == 2) seconds_per_byte_.clear();
    if (seconds_per_byte_.size() == kKeptSamples)
        seconds_per_byte_.erase(seconds_per_byte_.begin());
    seconds_per_byte_.push_back(std::chrono::duration<double>(time).count() /
                                static_cast<double>(bytes));
}

Microseconds DigestMeter::expect(std::uint64_t bytes) const {
    if (seconds_per_byte_.empty()) return {};
    std::vector<double> sorted = seconds_per_byte_;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    const double cost = sorted[sorted.size() >= kLargestMayBeOutlier ? 1 : 0];
    return std::chrono::ceil<Microseconds>(
        std::chrono::duration<double>(cost * static_cast<double>(bytes) * kBothSides));
}

}  // namespace migrate::engine
