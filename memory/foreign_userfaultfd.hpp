// A userfaultfd of another process's memory, made without that process's help: one of its threads
// is stopped by ptrace and made to run the system call, the descriptor is fetched by pidfd_getfd
// and closed in the process, and the thread goes on where it was. Invariants: the process never
// loses a system call or a signal by it; it is done by a helper process that outlives a SIGKILL of
// this one, so that nobody is left half-way; nothing stays open in the process, and what an
// interrupted helper left there is closed by the next one.
#pragma once

#include <sys/types.h>

#include <chrono>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::memory {

struct ForeignUserfaultfd {
    UniqueFd faults;                          // before UFFDIO_API
    std::chrono::microseconds stood_still{};  // the one thread, others ran on
};

// An Error says what forbids it: another user's process, ptrace_scope, a debugger that is attached,
// a seccomp filter of the process, another kind of CPU than x86-64. Takes under a second, or four
// where the thread does not come back from a system call; a helper then stays with it.
Result<ForeignUserfaultfd> open_foreign_userfaultfd(pid_t pid);

// Whether this program may do so to processes of its own user: an Error says why not.
Status probe_foreign_userfaultfd();

}  // namespace migrate::memory
