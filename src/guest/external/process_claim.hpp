// The right to stop, throttle and move a process that is not ours. Invariant: one migration of this
// kernel has it at a time, whichever namespaces it runs in and by whichever socket it reaches the
// process; it ends with the last process that holds the descriptors, so a guardian keeps it.
#pragma once

#include <sys/types.h>

#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::guest {

// A lock on the process itself: flock(2) on its pidfd, whose inode is the process's own and the
// same for everybody since Linux 6.9; before that, on its folder in /proc, which serves those only
// who share that mount.
class ProcessClaim {
  public:
    // No process: nothing is claimed.
    ProcessClaim() = default;
    // kRefused, with the holder's number, if another migration has it. `what` names the process in
    // errors.
    static Result<ProcessClaim> take(pid_t pid, std::string_view what);
    // The process that listens on the other end of a connected unix socket, even if it is in
    // another PID namespace; nothing is claimed where the kernel cannot tell which it is (before
    // Linux 6.5) or it is gone.
    static Result<ProcessClaim> take_listener(int socket, std::string_view what);

    // A pidfd; -1 for none.
    int process() const { return process_.get(); }
    // The descriptor that is locked; -1 for none.
    int lock() const { return folder_ ? folder_.get() : process_.get(); }
    explicit operator bool() const { return static_cast<bool>(process_); }

  private:
    static Result<ProcessClaim> lock(UniqueFd process, pid_t pid, std::string_view what);

    UniqueFd process_;
    UniqueFd folder_;  // empty where the pidfd itself is locked
};

}  // namespace migrate::guest
