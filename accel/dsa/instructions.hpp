// The CPU's instructions for work queues, as instructions: compiled whatever the build's target is,
// executed only where a probe has shown that they work. CPUID is not asked: hypervisors hide
// ENQCMD's bit where the instruction works, and show it where it does not.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "accel/dsa/descriptor.hpp"

namespace migrate::accel::dsa {

// Both order all earlier stores, the descriptor's and its record's, before the submission (SFENCE):
// neither instruction does by itself.
// `portal` is 64-byte aligned.

// ENQCMD. False: the queue did not take it (ZF=1).
bool enqueue_command(void* portal, const Descriptor& descriptor);
// MOVDIR64B. Whether the queue took it is not known.
void move_direct(void* portal, const Descriptor& descriptor);

// Whether this CPU has UMONITOR and UMWAIT.
bool has_user_wait();
// Returns when the cache line of `status` is written, after some microseconds, or at once; only
// where has_user_wait().
void user_wait(const std::atomic<std::uint8_t>& status);
// Tells the CPU that this is a loop that waits.
void pause();

// What running `body` came to: one that raises SIGILL, SIGSEGV or SIGBUS is left by a jump, so it
// holds nothing that must be given back. 0 or the signal. For start-up: it changes the process's
// handlers while it runs.
int run_trapped(void (*body)(void*), void* context);

}  // namespace migrate::accel::dsa
