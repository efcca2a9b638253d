// Reading and writing memory that may vanish: a file truncated under its mapping, or a disk that
// cannot be read, raises SIGBUS; inside a guard that is an Error, not the end of the process.
// Invariants: the guarded code holds nothing that must be given back (no lock, no object with a
// destructor, no allocation under way): it is left by a jump, and no destructor runs. Outside a
// guard, and for signals another process sent, whoever handled SIGBUS before still does.
#pragma once

#include <memory>
#include <string_view>
#include <type_traits>

#include "base/error.hpp"

namespace migrate::memory {

namespace detail {
// False if a SIGBUS of this thread ended body(context).
bool run_guarded(void (*body)(void*), void* context);
Error fault_error(std::string_view what);
Error write_fault_error(std::string_view what);
}  // namespace detail

// Runs `body`, which returns nothing; `what` is read, for the error: "cannot read WHAT: …". Costs
// some nanoseconds and no system call after the first. Guards may be nested.
template <typename Body>
Status guard_reads(std::string_view what, Body&& body) {
    using Callable = std::remove_reference_t<Body>;
    const auto call = [](void* context) { (*static_cast<Callable*>(context))(); };
    if (detail::run_guarded(call, std::addressof(body))) return {};
    return detail::fault_error(what);
}

// The same for writes: "cannot write to WHAT: …".
template <typename Body>
Status guard_writes(std::string_view what, Body&& body) {
    using Callable = std::remove_reference_t<Body>;
    const auto call = [](void* context) { (*static_cast<Callable*>(context))(); };
    if (detail::run_guarded(call, std::addressof(body))) return {};
    return detail::write_fault_error(what);
}

}  // namespace migrate::memory
