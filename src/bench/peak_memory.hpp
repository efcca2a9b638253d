// SPDX-License-Identifier: Apache-2.0
// The largest memory that processes held, from the kernel's own high-water mark.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <stop_token>

#include "base/fd.hpp"
#include "base/mutex.hpp"
#include "base/thread.hpp"

namespace migrate::bench {

// Reads VmHWM of one process every few milliseconds until the object is destroyed. The mark only
// rises, so that the last reading before the end misses little.
class PeakMemory {
  public:
    // Fails if no thread can be started. A process that has ended already has a peak of 0.
    static Result<std::unique_ptr<PeakMemory>> watch(pid_t pid);
    PeakMemory(const PeakMemory&) = delete;
    PeakMemory& operator=(const PeakMemory&) = delete;
    ~PeakMemory() = default;

    // Bytes; 0 if the process was never seen.
    std::uint64_t bytes();

  private:
    explicit PeakMemory(UniqueFd status) : status_(std::move(status)) {}
    void run(const std::stop_token& stop);

    UniqueFd status_;  // shows that process only, even if its id is used again
    Mutex mutex_;
    StopCondition ended_;
    std::uint64_t bytes_ GUARDED_BY(mutex_) = 0;
    Thread thread_;  // the last member: it ends before the others are destroyed
};

}  // namespace migrate::bench
