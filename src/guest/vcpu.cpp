// SPDX-License-Identifier: Apache-2.0
#include "guest/vcpu.hpp"

#include <algorithm>

#include "guest/workload_page.hpp"

namespace migrate::guest {
namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::nanoseconds;

std::int64_t ns_of(Clock::time_point time) {
    return duration_cast<nanoseconds>(time.time_since_epoch()).count();
}

// The time of day is used because one host's Clock means nothing on another host.
microseconds time_of_day() {
    return duration_cast<microseconds>(std::chrono::system_clock::now().time_since_epoch());
}

// If the hosts' clocks disagree, the age is at least 0: no write is in the future.
std::int64_t clock_ns_from_time_of_day(std::uint64_t us) {
    const auto ago = time_of_day() - microseconds(us);
    return ns_of(Clock::now()) - nanoseconds(std::max(ago, microseconds(0))).count();
}

}  // namespace

Vcpu::Vcpu(const WorkloadSpec& spec, unsigned index, const VcpuState& state,
           std::span<std::byte> memory, RunGate& gate,
           const std::atomic<unsigned>& throttle_percent)
    : sequence_(spec, index),
      pace_(Pace::interval(spec.rate_mib_s, spec.threads)),
      seed_(spec.seed),
      memory_(memory),
      gate_(gate),
      throttle_percent_(throttle_percent),
      writes_(state.writes),
      last_write_ns_(clock_ns_from_time_of_day(state.last_write_us)) {}

void Vcpu::run() {
    const auto throttle = [this] { return throttle_percent_.load(std::memory_order_relaxed); };
    if (!gate_.rest(Clock::now())) return;
    std::uint64_t number = writes();
    Clock::time_point now = Clock::now();
    pace_.restart(now, throttle());
    for (;;) {
        if (gate_.interrupted()) {
            if (!gate_.rest(now)) return;
            now = Clock::now();
            pace_.restart(now, throttle());
            continue;
        }
        // At the limit of write numbers the vCPU sleeps: after one more write no other host would
        // accept its state.
        const Clock::time_point next =
            number < kMaxWrites ? pace_.next(now, throttle()) : now + std::chrono::hours(1);
        if (next > now) {
            if (!gate_.rest(next)) return;
            now = Clock::now();
            continue;
        }
        write(++number);
        now = Clock::now();
        wrote(number, now);
    }
}

void Vcpu::write(std::uint64_t number) {
    const std::uint64_t page = sequence_.page(sequence_.slot(number));
    write_page(memory_.data() + page * kPageSize, {page, number}, seed_);
}

void Vcpu::wrote(std::uint64_t number, Clock::time_point now) {
    const std::int64_t now_ns = ns_of(now);
    const std::int64_t gap = now_ns - last_write_ns_.load(std::memory_order_relaxed);
    if (number > 1 && gap > longest_gap_ns_.load(std::memory_order_relaxed)) {
        longest_gap_ns_.store(gap, std::memory_order_relaxed);
    }
    last_write_ns_.store(now_ns, std::memory_order_relaxed);
    writes_.store(number, std::memory_order_relaxed);
    pace_.wrote();
}

VcpuState Vcpu::state() const {
    VcpuState state;
    state.writes = writes();
    if (state.writes == 0) return state;
    const nanoseconds ago(ns_of(Clock::now()) - last_write_ns_.load(std::memory_order_relaxed));
    const auto at = time_of_day() - duration_cast<microseconds>(ago);
    state.last_write_us = static_cast<std::uint64_t>(std::max(at, microseconds(0)).count());
    return state;
}

}  // namespace migrate::guest
