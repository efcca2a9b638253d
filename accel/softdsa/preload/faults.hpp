// The three signals by which the CPU hands over a descriptor it could not submit: SIGILL where it
// does not know ENQCMD, SIGSEGV where it knows it and has no PASID, SIGBUS where MOVDIR64B meets
// the empty file that stands for a portal. The handler of this library is the kernel's; what the
// program installs is kept here, and called for every fault that is none of ours.
// Invariant: none of the three is ever blocked, since a fault whose signal is blocked ends the
// process; so whatever the program blocks passes through without_trapped().
#pragma once

#include <csignal>
#include <cstdint>

namespace migrate::accel::softdsa::preload {

// As the kernel has masks: bit n - 1 is signal n.
std::uint64_t trapped_signals();
bool is_trapped(int signal);
sigset_t without_trapped(sigset_t set);

// Once, before the program's main().
void install_fault_handlers();
bool fault_handlers_installed();

// sigaction(2) for one of the three, for the program.
int exchange_action(int signal, const struct sigaction* action, struct sigaction* old);

// The C library's, past the hooks.
int real_sigaction(int signal, const struct sigaction* action, struct sigaction* old);

}  // namespace migrate::accel::softdsa::preload
