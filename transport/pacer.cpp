// SPDX-License-Identifier: Apache-2.0
#include "transport/pacer.hpp"

#include <algorithm>
#include <utility>

namespace migrate::transport {
namespace {

constexpr double kBurstSeconds = 0.05;

}  // namespace

void Pacer::refill(Clock::time_point now) {
    const double seconds = std::chrono::duration<double>(now - refilled_).count();
    const auto rate = static_cast<double>(rate_);
    tokens_ = std::min(tokens_ + seconds * rate, kBurstSeconds * rate);
    refilled_ = now;
    if (tokens_ >= 0) owes_ = false;
}

bool Pacer::acquire(std::uint64_t bytes, const std::stop_token& stop) {
    MutexLock lock(mutex_);
    if (rate_ == 0) return !stop.stop_requested();
    while (rate_ != 0) {
        const Clock::time_point now = Clock::now();
        refill(now);
        if (bursts()) {
            if (burst_->bytes == 0) burst_->began = now;
            burst_->bytes += bytes;
            break;
        }
        if (tokens_ >= 0) break;
        const std::chrono::duration<double> until_even(-tokens_ / static_cast<double>(rate_));
        const std::uint64_t rate = rate_;
        changed_.wait_for(lock, stop, until_even,
                          [&]() REQUIRES(mutex_) { return rate_ != rate || bursts(); });
        if (stop.stop_requested()) return false;
    }
    tokens_ -= static_cast<double>(bytes);
    return !stop.stop_requested();
}

void Pacer::set_rate(std::uint64_t bytes_per_second) {
    {
        const MutexLock lock(mutex_);
        refill(Clock::now());
        rate_ = bytes_per_second;
        tokens_ = 0;
        burst_.reset();
        owes_ = false;
    }
    changed_.notify_all();
}

std::uint64_t Pacer::rate() const {
    const MutexLock lock(mutex_);
    return rate_;
}

void Pacer::begin_burst() {
    {
        const MutexLock lock(mutex_);
        burst_.emplace();
    }
    changed_.notify_all();
}

std::optional<PacerBurst> Pacer::end_burst() {
    const MutexLock lock(mutex_);
    const std::optional<PacerBurst> ended = std::exchange(burst_, std::nullopt);
    if (!ended || ended->bytes == 0) return std::nullopt;
    owes_ = true;
    return ended;
}

}  // namespace migrate::transport
