// SPDX-License-Identifier: Apache-2.0
// The CPU time of some threads of another process.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace migrate::guest {

class ThreadClocks {
  public:
    // No threads: cpu_time() knows nothing.
    ThreadClocks() = default;
    // `ids`: thread ids as the process itself sees them, in its own PID namespace. No threads if
    // one of them is not found.
    static ThreadClocks find(pid_t pid, std::span<const std::uint64_t> ids);

    // The CPU time of all of them; nothing if there are none or one has ended. Any thread.
    std::optional<std::chrono::microseconds> cpu_time() const;

  private:
    std::vector<std::string> files_;  // schedstat of each
};

}  // namespace migrate::guest
