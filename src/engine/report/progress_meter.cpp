// SPDX-License-Identifier: Apache-2.0
#include "engine/report/progress_meter.hpp"

namespace migrate::engine {
namespace {

// Pages that a lost channel did not bring are taken back, so a count may fall.
double rise(std::uint64_t from, std::uint64_t to) {
    return to > from ? static_cast<double>(to - from) : 0;
}

}  // namespace

PresentSpeed ProgressMeter::note(Clock::time_point began, Clock::time_point now,
                                 std::uint64_t bytes, std::uint64_t pages) {
    const MutexLock lock(mutex_);
    if (count_ == 0) push({began, 0, 0});
    // The oldest one stays as long as no other one is old enough to take its place.
    while (count_ > 1 && now - samples_[(first_ + 1) % kMost].at >= kLongWindow) drop_oldest();
    const Sample old = oldest();
    const Sample base = newest_until(now - kWindow);
    if (now - newest().at >= kSpacing) push({now, bytes, pages});
    const double seconds = std::chrono::duration<double>(now - base.at).count();
    if (seconds <= 0) return {};
    return {rise(base.bytes, bytes) / seconds, rise(base.pages, pages) / seconds,
            rise(old.pages, pages) / std::chrono::duration<double>(now - old.at).count()};
}

// The oldest one if all are later.
const ProgressMeter::Sample& ProgressMeter::newest_until(Clock::time_point moment) const {
    std::size_t found = 0;
    while (found + 1 < count_ && samples_[(first_ + found + 1) % kMost].at <= moment) ++found;
    return samples_[(first_ + found) % kMost];
}

void ProgressMeter::push(const Sample& sample) {
    if (count_ == kMost) drop_oldest();
    samples_[(first_ + count_) % kMost] = sample;
    ++count_;
}

void ProgressMeter::drop_oldest() {
    first_ = (first_ + 1) % kMost;
    --count_;
}

}  // namespace migrate::engine
