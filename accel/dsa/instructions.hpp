// SPDX-License-Identifier: Apache-2.0
// The CPU's instructions for work queues. They are compiled for every build target, and executed
// only after a probe has shown that they work. CPUID is not used: hypervisors hide ENQCMD's bit
// where the instruction works, and show it where it does not.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "accel/dsa/descriptor.hpp"

namespace migrate::accel::dsa {

// enqueue_command() and move_direct() order all earlier stores, those of the descriptor and its
// record, before the submission (SFENCE); neither instruction does that by itself. `portal` is
// 64-byte aligned.

// ENQCMD. Returns false if the queue did not take it (ZF=1).
bool enqueue_command(void* portal, const Descriptor& descriptor);
// MOVDIR64B. The CPU does not report whether the queue took it.
void move_direct(void* portal, const Descriptor& descriptor);

// Orders all earlier stores before a submission that the kernel makes: write() itself promises no
// order towards a device.
void order_stores();

// Returns true if this CPU has UMONITOR and UMWAIT.
bool has_user_wait();
// Returns when the cache line of `status` is written, after some microseconds, or immediately.
// Requires has_user_wait().
void user_wait(const std::atomic<std::uint8_t>& status);
// Tells the CPU that this is a wait loop.
void pause();

// Runs `body` and returns 0, or SIGILL, SIGSEGV or SIGBUS if it raises one. A jump leaves `body`
// then, so it must hold nothing that must be released. Only for start-up: it changes the process's
// handlers while it runs.
int run_trapped(void (*body)(void*), void* context);

}  // namespace migrate::accel::dsa
