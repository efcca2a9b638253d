// SPDX-License-Identifier: Apache-2.0
// How long the guest waited for the pages that it touched in post-copy. Thread-safe.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <vector>

#include "base/mutex.hpp"

namespace migrate::engine {

// QEMU's postcopy-latency-dist: element N has the number of faults that took 2^N … 2^(N+1) µs; the
// first one also those that took less. There are as many elements as the longest needs.
struct FaultLatencyReport {
    std::uint64_t faults = 0;
    std::chrono::nanoseconds average{};
    // Upper bounds, at most a sixteenth above the true values.
    std::chrono::nanoseconds median{};
    std::chrono::nanoseconds p99{};
    std::chrono::nanoseconds longest{};
    std::vector<std::uint64_t> distribution{};
};

class FaultLatency {
  public:
    void add(std::chrono::nanoseconds time) {
        const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 0));
        const MutexLock lock(mutex_);
        ++buckets_[bucket_of(ns)];
        ++distribution_[power_of(ns / 1000)];
        ++faults_;
        sum_ns_ += ns;
        longest_ns_ = std::max(longest_ns_, ns);
    }

    FaultLatencyReport report() const {
        const MutexLock lock(mutex_);
        FaultLatencyReport report{.faults = faults_};
        if (faults_ == 0) return report;
        const auto ns = [](std::uint64_t value) {
            return std::chrono::nanoseconds(static_cast<std::int64_t>(value));
        };
        report.average = ns(sum_ns_ / faults_);
        report.longest = ns(longest_ns_);
        report.median = ns(std::min(quantile(faults_ - faults_ / 2), longest_ns_));
        report.p99 = ns(std::min(quantile(faults_ - faults_ / 100), longest_ns_));
        std::size_t used = distribution_.size();
        while (distribution_[used - 1] == 0) --used;
        report.distribution.assign(distribution_.begin(),
                                   distribution_.begin() + static_cast<std::ptrdiff_t>(used));
        return report;
    }

  private:
    // Sixteen buckets for each power of two.
    static constexpr unsigned kFineBits = 4;
    static constexpr unsigned kFine = 1U << kFineBits;

    static unsigned power_of(std::uint64_t value) {
        return value == 0 ? 0 : static_cast<unsigned>(std::bit_width(value)) - 1;
    }
    static std::size_t bucket_of(std::uint64_t ns) {
        if (ns < kFine) return static_cast<std::size_t>(ns);
        const unsigned shift = power_of(ns) - kFineBits;
        return (std::size_t{shift} + 1) * kFine + ((ns >> shift) - kFine);
    }
    static std::uint64_t upper_bound(std::size_t bucket) {
        if (bucket < kFine) return bucket;
        const auto shift = static_cast<unsigned>(bucket / kFine - 1);
        return ((std::uint64_t{bucket % kFine} + kFine + 1) << shift) - 1;
    }
    // The time that `rank` faults did not exceed.
    std::uint64_t quantile(std::uint64_t rank) const REQUIRES(mutex_) {
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < buckets_.size(); ++i) {
            seen += buckets_[i];
            if (seen >= rank) return upper_bound(i);
        }
        return longest_ns_;
    }

    mutable Mutex mutex_;
    std::array<std::uint64_t, (64 - kFineBits + 1) * kFine> buckets_ GUARDED_BY(mutex_){};
    std::array<std::uint64_t, 64> distribution_ GUARDED_BY(mutex_){};
    std::uint64_t faults_ GUARDED_BY(mutex_) = 0;
    std::uint64_t sum_ns_ GUARDED_BY(mutex_) = 0;
    std::uint64_t longest_ns_ GUARDED_BY(mutex_) = 0;
};

}  // namespace migrate::engine
