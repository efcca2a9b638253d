// SPDX-License-Identifier: Apache-2.0
// Makes a userfaultfd of another process's memory without that process's help: ptrace stops one of
// its threads and makes it run the system call, pidfd_getfd fetches the descriptor, which is then
// closed in the process, and the thread continues where it was. Invariants: the process never loses
// a system call or a signal by this; a helper process does it that outlives a SIGKILL of this one,
// so that no thread is left half-way; nothing stays open in the process, and the next helper closes
// what an interrupted helper left there.
#pragma once

#include <sys/types.h>

#include <chrono>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::memory {

struct ForeignUserfaultfd {
    UniqueFd faults;                          // UFFDIO_API is not called yet
    std::chrono::microseconds stood_still{};  // time that the one thread was stopped; others ran on
};

// An Error says what prevents it: another user's process, ptrace_scope, an attached debugger, a
// seccomp filter of the process that may not be suspended, a CPU other than x86-64. Takes under a
// second, or four if the thread does not return from a system call; a helper then stays with that
// thread.
Result<ForeignUserfaultfd> open_foreign_userfaultfd(pid_t pid);

// Checks that this program may do so to processes of its own user; an Error says why not.
Status probe_foreign_userfaultfd();

}  // namespace migrate::memory
