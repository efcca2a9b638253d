// SPDX-License-Identifier: Apache-2.0
// The program's standard output and standard error. Every text that a migration prints goes through
// here. Invariant: no call waits for the reader of the text, and none fails: if an output is not
// read, closed or full, only its text is lost.
#pragma once

#include <string_view>

#include "base/async_writer.hpp"

namespace migrate::output {

// Hands the text over to the output's own thread. Pass whole lines: text is dropped in the units
// that were passed in. If both outputs are the same file, pipe or terminal, their texts keep their
// order.
void to_stdout(std::string_view text) noexcept;
void to_stderr(std::string_view text, Importance importance = Importance::kOrdinary) noexcept;

// Called at the end of the program, or before _exit(): waits until everything is written. Gives up
// an output that accepts nothing for `longest_stall`, and reports the loss on standard error.
inline constexpr std::chrono::milliseconds kLongestStall{1000};
void flush(std::chrono::milliseconds longest_stall = kLongestStall) noexcept;

// The same for another output, with kLongestStall. All outputs that are not read cost that time
// once: after the first of them, the others get kShortStall. Returns false if something is not
// written.
inline constexpr std::chrono::milliseconds kShortStall{50};
bool drain(AsyncWriter& writer) noexcept;

}  // namespace migrate::output
