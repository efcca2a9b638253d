// Waits for a descriptor that a requested stop ends at once. Invariant: a stop that was requested
// before a wait ends that wait, too.
#pragma once

#include <chrono>
#include <stop_token>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate {

class StopWait {
  public:
    // Opens a descriptor, except for a token whose stop nobody can request.
    explicit StopWait(const std::stop_token& stop);

    // Waits until `fd` (-1 for none) has one of `events` (poll(2)), but at most for `longest`
    // (above 0 and up to a day). Returns true if it has, false if the time is over; kCancelled once
    // the stop was requested.
    Result<bool> wait(int fd, short events, std::chrono::nanoseconds longest) const;

  private:
    struct Wake {
        int fd;
        void operator()() const;
    };

    std::stop_token stop_;
    UniqueFd wake_;
    int wake_error_ = 0;  // why there is no wake_
    std::stop_callback<Wake> on_stop_;
};

}  // namespace migrate
