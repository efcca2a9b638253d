// SPDX-License-Identifier: Apache-2.0
// Moves the memory of any process that maps it shared from files, without the process's help. Its
// registers and devices do not move. Invariant: as in qemu_guest.hpp, with the pause that this
// process supports.
#pragma once

#include <memory>
#include <string_view>

#include "base/config/form.hpp"
#include "base/error.hpp"
#include "guest/guest.hpp"

namespace migrate::guest {

inline constexpr std::string_view kProcessKind = "process";

// `parsed` is a pid: of kSourceForms. Each FILE is a region, named ram,
// or ram0, ram1, … if there are several. `pause` says how the process is stopped for the last round
// and after it: not at all (the default; the copy is then not of one moment), by SIGSTOP, or by the
// freezer of its cgroup, which must be the process's own.
Result<Machine> open_process_machine(std::string_view uri, const ParsedForm& parsed);

// Returns the guest for a process that arrived: it has memory and never runs.
Result<std::unique_ptr<Guest>> load_process(std::string_view state);

}  // namespace migrate::guest
