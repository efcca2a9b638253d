// SPDX-License-Identifier: Apache-2.0
// How busy the CPUs are that this process may use.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace migrate {

// Time of all CPUs together since the host was started, in clock ticks.
struct CpuTicks {
    std::uint64_t all = 0;
    std::uint64_t idle = 0;
};
// Reads the first line of /proc/stat; nothing if it has another form.
std::optional<CpuTicks> parse_cpu_ticks(const char* line);

// The CPUs between two calls. Nothing where the kernel does not tell it.
struct CpuUse {
    // Share of CPU time that was idle, 0 … 1: of the whole host, or of the CPUs that this process
    // may use (sched_setaffinity(2)) if that is less.
    std::optional<double> idle_share;
    // CPUs that the threads of this process wanted: those on which they ran, and those for which
    // they waited although they could have run.
    std::optional<double> wanted_cpus;
};

// Measures from one call to the next. Used by one thread.
class CpuLoad {
  public:
    CpuLoad();

    CpuUse since_last();

  private:
    std::chrono::steady_clock::time_point at_;
    std::optional<CpuTicks> ticks_;
    std::chrono::nanoseconds used_{};                 // CPU time of this process
    std::optional<std::chrono::nanoseconds> wanted_;  // running or waiting for a CPU
};

// Number of CPUs that this process may use, at least 1.
unsigned usable_cpus();

}  // namespace migrate
