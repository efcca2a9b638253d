// The program's standard output and standard error. Every text that a migration prints goes through
// here. Invariant: no call waits for whoever reads the text, and none fails: an output that is not
// read, closed or full costs its text and nothing else.
#pragma once

#include <string_view>

#include "base/async_writer.hpp"

namespace migrate::output {

// Hands the text over to the output's own thread. Whole lines: dropped text is dropped as it was
// passed in. Where both outputs are the same file, pipe or terminal, their texts keep their order.
void to_stdout(std::string_view text) noexcept;
void to_stderr(std::string_view text, Importance importance = Importance::kOrdinary) noexcept;

// At the end of the program, or before _exit(): waits until everything is written. Gives up an
// output that takes nothing for that long, and says on standard error what is lost.
inline constexpr std::chrono::milliseconds kLongestStall{1000};
void flush(std::chrono::milliseconds longest_stall = kLongestStall) noexcept;

// The same for another output, for kLongestStall. All outputs that are not read cost that time
// once: after the first of them, the others get kShortStall. False if something is not written.
inline constexpr std::chrono::milliseconds kShortStall{50};
bool drain(AsyncWriter& writer) noexcept;

}  // namespace migrate::output
