// SPDX-License-Identifier: Apache-2.0
// Wakes engines from any context, including signal handlers. Invariant: an engine reads value()
// before it checks the queues, and wait() sleeps only while the value is unchanged; so an engine
// never sleeps through a descriptor that is queued later.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <ctime>

#include "accel/softdsa/errno_kept.hpp"
#include "base/raw_syscall.hpp"

namespace migrate::accel::softdsa {

inline constexpr std::uint64_t kNever = UINT64_MAX;

inline std::uint64_t now_ns() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}

class Doorbell {
  public:
    std::uint32_t value() const noexcept { return value_.load(); }

    void ring_one() noexcept { ring(1); }
    void ring_all() noexcept { ring(INT_MAX); }

    // Waits until it is rung or CLOCK_MONOTONIC reaches `deadline_ns`; may return early.
    void wait(std::uint32_t seen, std::uint64_t deadline_ns) noexcept {
        timespec until{};
        until.tv_sec = static_cast<time_t>(deadline_ns / 1'000'000'000U);
        until.tv_nsec = static_cast<long>(deadline_ns % 1'000'000'000U);
        // Sequentially consistent, like ring(): either this thread sees the new value, or the
        // ringing thread sees a sleeper.
        sleepers_.fetch_add(1);
        raw_syscall(SYS_futex, &value_, FUTEX_WAIT_BITSET_PRIVATE, seen,
                    deadline_ns == kNever ? nullptr : &until, nullptr, FUTEX_BITSET_MATCH_ANY);
        sleepers_.fetch_sub(1);
    }

  private:
    void ring(int engines) noexcept {
        value_.fetch_add(1);
        if (sleepers_.load() == 0) return;
        const ErrnoKept kept;
        raw_syscall(SYS_futex, &value_, FUTEX_WAKE_PRIVATE, engines, nullptr, nullptr, 0);
    }

    std::atomic<std::uint32_t> value_{0};
    std::atomic<std::uint32_t> sleepers_{0};
    static_assert(sizeof(std::atomic<std::uint32_t>) == 4 &&
                  std::atomic<std::uint32_t>::is_always_lock_free);
};

}  // namespace migrate::accel::softdsa
