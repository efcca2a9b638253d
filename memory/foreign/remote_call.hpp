// SPDX-License-Identifier: Apache-2.0
// Runs system calls in a thread of another process, through ptrace. Invariant: after stop(),
// let_go() or destruction restores the thread's registers and signal mask before it runs, however
// long that takes, so that the system call that it was in continues as if nothing had happened, and
// no signal is lost. Uses system calls only and allocates nothing, because it runs in the child of
// a fork. The kernel reports the thread's stops by SIGCHLD, which the caller must have blocked, not
// ignored, and which no other thread may take.
#pragma once

#include <signal.h>
#include <sys/types.h>
#include <sys/user.h>

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/error.hpp"

namespace migrate::memory {

// Returns the address of a `syscall` instruction in the process's vDSO.
Result<std::uint64_t> find_syscall_instruction(pid_t pid);

class RemoteCall {
  public:
    // `gate` is from find_syscall_instruction(). The thread is the process's first.
    RemoteCall(pid_t pid, std::uint64_t gate) : pid_(pid), gate_(gate) {}
    ~RemoteCall() { let_go(); }
    RemoteCall(const RemoteCall&) = delete;
    RemoteCall& operator=(const RemoteCall&) = delete;

    // Returns 0 or an errno.
    int seize();
    // Waits until the thread is stopped. Returns 0 or an errno, including ETIMEDOUT.
    int stop(std::chrono::milliseconds patience);
    // After stop(): a seccomp filter of the thread does not apply until let_go(). Returns 0 or an
    // errno: EPERM without CAP_SYS_ADMIN, EINVAL if the kernel cannot do this.
    int suspend_filter();
    // Returns the call's result (-errno for a failure). Returns nothing if the call could not be
    // run (see error()) or did not return within a second (ETIMEDOUT); no other call can be run
    // after that.
    std::optional<std::int64_t> run(long number, std::uint64_t first, std::uint64_t second = 0);
    int error() const { return error_; }
    // If a call did not return, waits until it is interrupted.
    void let_go();

  private:
    bool await_stop(std::chrono::milliseconds patience);
    bool force_stop();
    bool resume_until_border();

    pid_t pid_;
    std::uint64_t gate_;
    bool seized_ = false;
    bool stopped_ = false;  // let_go() must restore its registers
    bool astray_ = false;   // it runs with our registers
    int error_ = 0;
    int stop_status_ = 0;  // the last stop, as waitpid() reported it
    user_regs_struct before_{};
    std::uint64_t mask_before_ = 0;  // the kernel's sigset_t
};

}  // namespace migrate::memory
