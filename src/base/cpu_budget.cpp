// SPDX-License-Identifier: Apache-2.0
#include "base/cpu_budget.hpp"

#include <algorithm>

#include "base/own_cpu_time.hpp"

namespace migrate {
namespace {

using std::chrono::nanoseconds;

// Time whose budget may be used at once after a quiet time.
constexpr double kBurstSeconds = 0.05;
// A shorter wait would use up what it waits for: the wake-up of a thread costs tens of
// microseconds.
constexpr std::chrono::duration<double> kShortestWait{0.01};

double seconds(nanoseconds time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

CpuBudget::CpuBudget(double cpus) : CpuBudget(cpus, own_cpu_time, [] { return Clock::now(); }) {}

CpuBudget::CpuBudget(double cpus, UsedTime used, Now now)
    : cpus_(cpus), used_(std::move(used)), now_(std::move(now)) {}

void CpuBudget::begin() {
    const MutexLock lock(mutex_);
    if (runs_) return;
    runs_ = true;
    began_ = refilled_ = now_();
    used_at_begin_ = used_at_refill_ = used_();
    allowance_ = 0;
}

void CpuBudget::refill(Clock::time_point now) {
    const nanoseconds used = used_();
    allowance_ += cpus_ * seconds(now - refilled_) - seconds(used - used_at_refill_);
    allowance_ = std::min(allowance_, kBurstSeconds * cpus_);
    refilled_ = now;
    used_at_refill_ = used;
}

bool CpuBudget::pace(const std::stop_token& stop) {
    if (cpus_ <= 0) return !stop.stop_requested();
    MutexLock lock(mutex_);
    const Clock::time_point began = now_();
    while (runs_ && !stop.stop_requested()) {
        const Clock::time_point now = now_();
        refill(now);
        if (allowance_ >= 0 || now - began >= kLongestWait) break;
        const std::chrono::duration<double> until_even(-allowance_ / cpus_);
        const auto wanted = std::max(until_even, kShortestWait);
        const std::chrono::duration<double> most(kLongestWait - (now - began));
        changed_.wait_for(lock, stop, std::min(wanted, most),
                          [this]() REQUIRES(mutex_) { return !runs_; });
        waited_ += now_() - now;
    }
    return !stop.stop_requested();
}

void CpuBudget::lift() {
    {
        const MutexLock lock(mutex_);
        if (!runs_) return;
        runs_ = false;
        held_ = now_() - began_;
        held_used_ = used_() - used_at_begin_;
    }
    changed_.notify_all();
}

CpuBudget::Figures CpuBudget::figures() const {
    const MutexLock lock(mutex_);
    const nanoseconds held = runs_ ? now_() - began_ : held_;
    const nanoseconds used = runs_ ? used_() - used_at_begin_ : held_used_;
    Figures figures{.cpus_allowed = cpus_,
                    .waited = std::chrono::duration_cast<std::chrono::microseconds>(waited_)};
    if (held.count() > 0) figures.cpus_used = seconds(used) / seconds(held);
    return figures;
}

}  // namespace migrate
