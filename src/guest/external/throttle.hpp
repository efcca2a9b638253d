// SPDX-License-Identifier: Apache-2.0
// Takes CPU time from a foreign process: by its cgroup's quota if the process has a cgroup of its
// own, otherwise by alternately stopping and continuing it. Invariant: when this object ends, and
// after a sudden end of this program, the process has all its time again.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "base/thread.hpp"
#include "guest/external/guardian.hpp"

namespace migrate::guest {

// The file of its cgroup that limits the process's CPU time, "cpu.max" or, with cgroups of version
// 1, "cpu.cfs_quota_us". `path` is empty if there is none or if the cgroup holds anything else.
struct CpuKnob {
    std::string path;
    std::string before;  // content before the first change
    bool version1 = false;
    std::uint64_t period_us = 0;  // version 1 only, which keeps the period in another file
};
CpuKnob find_cpu_knob(pid_t pid);

// Returns the content that takes 1 … 99 percent of the CPU time that the process has now; the
// process can keep `cpus` CPUs busy. The new quota never exceeds the present one. Returns nothing
// if the present content cannot be parsed.
std::optional<std::string> cpu_quota(const CpuKnob& knob, std::size_t cpus, unsigned percent);

class Throttle {
  public:
    // Throttles the process that `guardian` watches; `guardian` outlives this. pid 0: cannot be
    // throttled. `cpus`: number of CPUs that the process can keep busy, at least 1.
    static std::unique_ptr<Throttle> create(const Guardian& guardian, pid_t pid, std::size_t cpus);
    ~Throttle();
    Throttle(const Throttle&) = delete;
    Throttle& operator=(const Throttle&) = delete;

    // Takes 0 … 99 percent of the process's time from now on.
    Status set(unsigned percent);
    // hold() suspends the throttle, so that the process answers; release() restores it.
    Status hold();
    Status release();
    // Returns the actions that lift any throttle if this process dies.
    Undo undo() const;

  private:
    Throttle(const Guardian& guardian, pid_t pid, std::size_t cpus, CpuKnob knob);
    Status apply();
    void take_turns(const std::stop_token& stop);

    const Guardian& guardian_;
    pid_t pid_;
    std::size_t cpus_;
    CpuKnob knob_;
    bool held_ = false;
    unsigned percent_ = 0;
    Mutex mutex_;
    StopCondition changed_;
    unsigned turns_percent_ GUARDED_BY(mutex_) = 0;  // 0: the process is not stopped in turns
    Thread thread_;                                  // runs while turns are taken
};

}  // namespace migrate::guest
