// SPDX-License-Identifier: Apache-2.0
// Handles the three signals by which the CPU hands over a descriptor that it could not submit:
// SIGILL if it does not know ENQCMD, SIGSEGV if it knows it but has no PASID, SIGBUS if MOVDIR64B
// hits the empty file that stands for a portal. The kernel calls this library's handler; the
// program's actions are kept here, and called for every other fault. Invariant: none of the three
// is ever blocked, because a fault whose signal is blocked ends the process; so every mask of the
// program passes through without_trapped().
#pragma once

#include <csignal>
#include <cstdint>

namespace migrate::accel::softdsa::preload {

// A mask in the kernel's format: bit n - 1 is signal n.
std::uint64_t trapped_signals();
bool is_trapped(int signal);
sigset_t without_trapped(sigset_t set);

// Called once, before the program's main().
void install_fault_handlers();
bool fault_handlers_installed();

// Performs sigaction(2) for one of the three on behalf of the program.
int exchange_action(int signal, const struct sigaction* action, struct sigaction* old);

// Calls the C library's sigaction(), past the hooks.
int real_sigaction(int signal, const struct sigaction* action, struct sigaction* old);

}  // namespace migrate::accel::softdsa::preload
