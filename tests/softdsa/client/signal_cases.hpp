// SPDX-License-Identifier: Apache-2.0
// The cases that are about signals: those of the program's own faults, and those that the
// instructions raise on a CPU without them.
#pragma once

namespace softdsa_client {

// A program's handlers of these signals are called for its own faults, and for nothing else.
void test_handlers();
// The signals as the CPU would raise them at an instruction.
void test_signals();
// On a stack of their own for signals, just large enough for a frame of this CPU's.
void test_signal_stack();

}  // namespace softdsa_client
