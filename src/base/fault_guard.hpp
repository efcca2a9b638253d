// SPDX-License-Identifier: Apache-2.0
// Reads and writes memory that may vanish: a file truncated under its mapping, or a disk that
// cannot be read, raises SIGBUS; inside a guard that is an Error, not the end of the process.
// Invariants: the guarded code holds nothing that must be released (no lock, no object with a
// destructor, no allocation in progress), because a jump leaves it and no destructor runs. Outside
// a guard, and for signals that another process sent, the previous SIGBUS handler still runs.
#pragma once

#include <memory>
#include <string_view>
#include <type_traits>

#include "base/error.hpp"

namespace migrate {

namespace detail {
// Returns false if a SIGBUS of this thread ended body(context).
bool run_guarded(void (*body)(void*), void* context);
Error fault_error(std::string_view what);
Error write_fault_error(std::string_view what);
}  // namespace detail

// Runs `body`, which returns nothing. `what` names the memory in the error: "cannot read WHAT: …".
// Takes some nanoseconds, and no system call after the first use. Guards may be nested.
template <typename Body>
Status guard_reads(std::string_view what, Body&& body) {
    using Callable = std::remove_reference_t<Body>;
    const auto call = [](void* context) { (*static_cast<Callable*>(context))(); };
    if (detail::run_guarded(call, std::addressof(body))) return {};
    return detail::fault_error(what);
}

// Does the same for writes: "cannot write to WHAT: …".
template <typename Body>
Status guard_writes(std::string_view what, Body&& body) {
    using Callable = std::remove_reference_t<Body>;
    const auto call = [](void* context) { (*static_cast<Callable*>(context))(); };
    if (detail::run_guarded(call, std::addressof(body))) return {};
    return detail::write_fault_error(what);
}

}  // namespace migrate
