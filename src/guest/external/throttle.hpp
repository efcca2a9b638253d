// Takes CPU time from a process that is not ours: by its cgroup's quota where the process has one
// for itself, else by stopping and continuing it by turns. Invariant: from its end on, and after a
// sudden end of this program, the process has all its time again.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "base/thread.hpp"
#include "guest/external/guardian.hpp"

namespace migrate::guest {

// The file of its cgroup that limits the process's CPU time, if nobody else is in there; empty:
// there is none. `file`: "cpu.max" or, where cgroups are of version 1, "cpu.cfs_quota_us".
struct CpuKnob {
    std::string path;
    std::string before;  // its content
    bool version1 = false;
    std::uint64_t period_us = 0;  // of version 1, which has it in another file
};
CpuKnob find_cpu_knob(pid_t pid);

// What to write into it to take 1 … 99 percent of what the process, which can keep `cpus` busy, has
// now. Never more than it has; nothing if its content is not understood.
std::optional<std::string> cpu_quota(const CpuKnob& knob, std::size_t cpus, unsigned percent);

class Throttle {
  public:
    // Of the process that `guardian`, which outlives this, watches over (pid 0: cannot be
    // throttled). `cpus`: how many it can keep busy, at least 1.
    static std::unique_ptr<Throttle> create(const Guardian& guardian, pid_t pid, std::size_t cpus);
    ~Throttle();
    Throttle(const Throttle&) = delete;
    Throttle& operator=(const Throttle&) = delete;

    // 0 … 99 percent of its time are taken from now on.
    Status set(unsigned percent);
    // For a while nothing is taken, so that it answers; release(): as before.
    Status hold();
    Status release();
    // What undoes any throttle, should this process die.
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
    std::mutex mutex_;
    std::condition_variable_any changed_;
    unsigned turns_percent_ = 0;  // guarded by mutex_; 0: no turns are taken
    Thread thread_;               // from the first turns on
};

}  // namespace migrate::guest
