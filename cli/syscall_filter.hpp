// SPDX-License-Identifier: Apache-2.0
// The system calls that a receiver no longer makes once it is set up, forbidden by seccomp
// (libseccomp). Invariant: a forbidden call fails with EPERM, in every thread; no call ends the
// process.
#pragma once

#include "base/error.hpp"

namespace migrate::cli {

// Calls that stay allowed because the receiver's task needs them.
struct SyscallNeeds {
    bool creates_files = false;  // gives files their names, replaces and removes them
    bool connects = false;       // connects to its peer by TCP
    bool uses_qemu = false;      // writes the memory of a QEMU, connects to it, forks its guardian
};

// From now on the calls fail in all threads of this process and in every thread that they start. It
// cannot be undone. kFailed if the kernel has no seccomp filters or refuses this one.
Status forbid_syscalls(const SyscallNeeds& needs);

}  // namespace migrate::cli
