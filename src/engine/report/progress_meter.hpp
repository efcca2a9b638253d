// SPDX-License-Identifier: Apache-2.0
// The present speed of a running migration. Invariant: it is that of the last kWindow, or of the
// time since the migration began if that is shorter, whoever asks and however often. The same holds
// for the lasting speed and kLongWindow.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/mutex.hpp"

namespace migrate::engine {

// Both are averages per second; never negative.
struct PresentSpeed {
    double bytes = 0;  // on all channels, headers included
    double pages = 0;  // pages done, of any kind
    // The same over a longer time, for what is to come: a busy host makes the present speed vary.
    std::optional<double> lasting_pages{};
};

class ProgressMeter {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::milliseconds kWindow{2000};
    static constexpr std::chrono::milliseconds kLongWindow{8000};
    static constexpr std::chrono::milliseconds kSpacing{50};

    // Takes note of what has been sent and done by the time `now`, and returns the speed. `began`:
    // when the first page could move. Any thread; needs no memory.
    PresentSpeed note(Clock::time_point began, Clock::time_point now, std::uint64_t bytes,
                      std::uint64_t pages);

  private:
    struct Sample {
        Clock::time_point at{};
        std::uint64_t bytes = 0;
        std::uint64_t pages = 0;
    };
    // Samples of the long window, and one that is older.
    static constexpr std::size_t kMost = kLongWindow / kSpacing + 2;

    const Sample& oldest() const REQUIRES(mutex_) { return samples_[first_]; }
    const Sample& newest_until(Clock::time_point moment) const REQUIRES(mutex_);
    const Sample& newest() const REQUIRES(mutex_) {
        return samples_[(first_ + count_ - 1) % kMost];
    }
    void push(const Sample& sample) REQUIRES(mutex_);
    void drop_oldest() REQUIRES(mutex_);

    Mutex mutex_;
    std::array<Sample, kMost> samples_ GUARDED_BY(mutex_);  // a ring
    std::size_t first_ GUARDED_BY(mutex_) = 0;
    std::size_t count_ GUARDED_BY(mutex_) = 0;
};

}  // namespace migrate::engine
