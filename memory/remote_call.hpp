// System calls run by a thread of another process, through ptrace. Invariant: from stop() on,
// let_go() or destruction puts the thread's registers and signal mask back before it runs, however
// long that takes, so that the system call it was in goes on as if nothing had been, and no signal
// is lost. System calls only, no allocation: made for the child of a fork. The kernel tells of the
// thread's stops by SIGCHLD, which is blocked here, not ignored, and no other thread's to take.
#pragma once

#include <signal.h>
#include <sys/types.h>
#include <sys/user.h>

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/error.hpp"

namespace migrate::memory {

// The address of a `syscall` instruction in the process's vDSO.
Result<std::uint64_t> find_syscall_instruction(pid_t pid);

class RemoteCall {
  public:
    // `gate` is from find_syscall_instruction(). The thread is the process's first.
    RemoteCall(pid_t pid, std::uint64_t gate) : pid_(pid), gate_(gate) {}
    ~RemoteCall() { let_go(); }
    RemoteCall(const RemoteCall&) = delete;
    RemoteCall& operator=(const RemoteCall&) = delete;

    // 0 or errno.
    int seize();
    // Until the thread stands still: 0 or errno, ETIMEDOUT included.
    int stop(std::chrono::milliseconds patience);
    // What the call returned, -errno included; nothing if it could not be run, for error(), or did
    // not return within a second (ETIMEDOUT), after which no other can be run.
    std::optional<std::int64_t> run(long number, std::uint64_t first, std::uint64_t second = 0);
    int error() const { return error_; }
    // Waits for a call that did not return to be interrupted.
    void let_go();

  private:
    bool await_stop(std::chrono::milliseconds patience);
    bool force_stop();
    bool resume_until_border();

    pid_t pid_;
    std::uint64_t gate_;
    bool seized_ = false;
    bool stopped_ = false;  // its registers are ours to put back
    bool astray_ = false;   // it runs with registers of ours
    int error_ = 0;
    int stop_status_ = 0;  // of the last stop, as waitpid() told it
    user_regs_struct before_{};
    std::uint64_t mask_before_ = 0;  // the kernel's sigset_t
};

}  // namespace migrate::memory
