// Reads this process's memory where it lies, at addresses that may be invalid. A system call that
// copies a page takes several times as long as a look at it. Invariant: a read that faults ends
// with "cannot be read": a signal handler continues behind the reading instructions, whose
// addresses are in a table, as in kernels. They are assembler, so that no sanitizer attributes the
// device's access to the program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace migrate::accel::softdsa::guarded {

// Declares that the program's handlers of SIGSEGV and SIGBUS always call recover().
void enable();
// The same by handlers that the first call in a process installs. They pass on every other fault to
// the handlers that were there. Aborts if they cannot be installed.
void enable_by_own_handlers();
// Installs them again, after a program that does not pass faults on has replaced them.
void install_handlers();
// Returns true if a thread that does not block SIGSEGV and SIGBUS may call equal_bytes(): not if
// another handler of SIGSEGV has replaced this one.
bool is_usable() noexcept;

// For a handler of a fault: if a guarded read raised it, makes the context continue behind it and
// returns true. Async-signal-safe.
bool recover(void* context) noexcept;

inline constexpr std::size_t kStepBytes = 64;
// Returns the number of bytes from `address` on that equal the repeated pattern; nothing if a byte
// up to the first different one cannot be read. `bytes` is a multiple of kStepBytes.
std::optional<std::size_t> equal_bytes(std::uint64_t address, std::size_t bytes,
                                       std::uint64_t pattern) noexcept;

}  // namespace migrate::accel::softdsa::guarded
