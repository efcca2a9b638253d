// SPDX-License-Identifier: Apache-2.0
// The right to stop, throttle and move a foreign process. Invariant: one migration on this kernel
// holds the right at a time, whichever namespaces it runs in and whichever socket it uses to reach
// the process. The right ends with the last process that holds the descriptors, so a guardian keeps
// it.
#pragma once

#include <sys/types.h>

#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::guest {

// A lock on the process itself: flock(2) on its pidfd. Since Linux 6.9 the pidfd's inode belongs to
// one process and is the same for all who open it. Before that the lock is on the process's folder
// in /proc, which only users of the same mount share.
class ProcessClaim {
  public:
    // An empty claim: no process, nothing is locked.
    ProcessClaim() = default;
    // kRefused, with the holder's number, if another migration has the claim. `what` names the
    // process in errors.
    static Result<ProcessClaim> take(pid_t pid, std::string_view what);
    // Claims the process that listens on the other end of a connected unix socket, even if it is in
    // another PID namespace. Claims nothing if the kernel cannot tell which process it is (before
    // Linux 6.5) or if it is gone.
    static Result<ProcessClaim> take_listener(int socket, std::string_view what);

    // A pidfd; -1 if none.
    int process() const { return process_.get(); }
    // The locked descriptor; -1 if none.
    int lock() const { return folder_ ? folder_.get() : process_.get(); }
    explicit operator bool() const { return static_cast<bool>(process_); }

  private:
    static Result<ProcessClaim> lock(UniqueFd process, pid_t pid, std::string_view what);

    UniqueFd process_;
    UniqueFd folder_;  // empty if the pidfd itself is locked
};

}  // namespace migrate::guest
