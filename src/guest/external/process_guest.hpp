// Any process whose memory is in files that it has mapped shared, without its help: its memory
// moves, its registers and devices do not. Invariant: as in qemu_guest.hpp, for what pausing it
// means here.
#pragma once

#include <memory>
#include <string_view>

#include "base/error.hpp"
#include "guest/guest.hpp"

namespace migrate::guest {

inline constexpr std::string_view kPidScheme = "pid";
inline constexpr std::string_view kProcessKind = "process";

// "PID,map=FILE[,map=FILE…][,pause=none|sigstop|freezer]": each FILE is a region, named ram, or
// ram0, ram1, … if there are several. pause says what becomes of the process for the last round and
// after it: nothing (the default; the copy is then of no single moment), SIGSTOP, or its cgroup's
// freezer, which must be the process's own.
Result<Machine> open_process_machine(std::string_view uri, std::string_view words);

// What arrives of such a process: its memory, and nothing that would run.
Result<std::unique_ptr<Guest>> load_process(std::string_view state);

}  // namespace migrate::guest
