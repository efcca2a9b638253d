// SPDX-License-Identifier: Apache-2.0
#include "guest/pace.hpp"

#include <algorithm>

#include "base/units.hpp"

namespace migrate::guest {

std::chrono::nanoseconds Pace::interval(std::uint64_t rate_mib_s, unsigned threads) {
    if (rate_mib_s == 0) return {};
    const std::uint64_t pages_per_second = rate_mib_s * kMiB / kPageSize;
    const std::uint64_t ns = std::uint64_t{1'000'000'000} * threads;
    return std::chrono::nanoseconds((ns + pages_per_second - 1) / pages_per_second);
}

void Pace::restart(Clock::time_point now, unsigned throttle_percent) {
    due_ = std::max(due_, now);
    begin_slice(now, throttle_percent);
}

void Pace::begin_slice(Clock::time_point now, unsigned throttle_percent) {
    throttle_percent_ = throttle_percent;
    window_end_ = now + kSlice - taken();
}

Clock::time_point Pace::next(Clock::time_point now, unsigned throttle_percent) {
    const bool changed = throttle_percent != throttle_percent_;
    if (throttle_percent_ != 0 && now >= window_end_) {
        if (!changed && now < slice_end()) return slice_end();
        // Time after the window does not count as the guest's, whether the throttle or another
        // cause took it.
        due_ += now - window_end_;
        begin_slice(now, throttle_percent);
    } else if (changed) {
        begin_slice(now, throttle_percent);
    }
    if (interval_.count() == 0) return now;
    due_ = std::max(due_, now - kCatchUp);
    if (due_ <= now) return now;
    const Clock::time_point wake = std::max(due_, now + kTick);
    return throttle_percent_ != 0 && wake >= window_end_ ? slice_end() : wake;
}

}  // namespace migrate::guest
