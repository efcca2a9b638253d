// SPDX-License-Identifier: Apache-2.0
// A QEMU that waits for a guest. Invariants: a loaded guest does not run before resume(); if a
// loaded guest never ran, its QEMU is ended, so that there is no second copy of a guest that runs
// elsewhere.
#pragma once

#include <string_view>

#include "base/config/form.hpp"
#include "base/error.hpp"
#include "guest/guest.hpp"

namespace migrate::guest {

// Parses "SOCKET[,pid=PID]" as in qemu_guest.hpp, for a QEMU that was started with -incoming defer
// and with the sender's machine and memory backends. The former content of its memory is lost once
// a sender has come.
Result<Destination> open_qemu_destination(std::string_view uri, const ParsedForm& parsed);

}  // namespace migrate::guest
