#include "transport/pacer.hpp"

#include <algorithm>

namespace migrate::transport {
namespace {

constexpr double kBurstSeconds = 0.05;

}  // namespace

void Pacer::refill(Clock::time_point now) {
    const double seconds = std::chrono::duration<double>(now - refilled_).count();
    const auto rate = static_cast<double>(rate_);
    tokens_ = std::min(tokens_ + seconds * rate, kBurstSeconds * rate);
    refilled_ = now;
}

bool Pacer::acquire(std::uint64_t bytes, const std::stop_token& stop) {
    MutexLock lock(mutex_);
    if (rate_ == 0) return !stop.stop_requested();
    while (rate_ != 0) {
        refill(Clock::now());
        if (tokens_ >= 0) break;
        const std::chrono::duration<double> until_even(-tokens_ / static_cast<double>(rate_));
        const std::uint64_t rate = rate_;
        changed_.wait_for(lock, stop, until_even, [&]() REQUIRES(mutex_) { return rate_ != rate; });
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
    }
    changed_.notify_all();
}

}  // namespace migrate::transport
