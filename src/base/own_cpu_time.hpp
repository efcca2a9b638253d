// SPDX-License-Identifier: Apache-2.0
// The CPU time of this process without that of a guest whose vCPUs are threads of it.
#pragma once

#include <chrono>

namespace migrate {

// CPU time of all threads of this process, also of those that have ended, except for the time in
// which a GuestThread existed on them. Any thread may call it.
std::chrono::nanoseconds own_cpu_time();

// While it lives, the calling thread is a guest's: its CPU time is not part of own_cpu_time(), and
// it may run on all CPUs that the process had when it started.
class GuestThread {
  public:
    GuestThread();
    ~GuestThread();
    GuestThread(const GuestThread&) = delete;
    GuestThread& operator=(const GuestThread&) = delete;
};

}  // namespace migrate
