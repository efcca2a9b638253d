// SPDX-License-Identifier: Apache-2.0
// Reads and writes this process's memory where it lies, at addresses that may be invalid. A system
// call that copies a page takes several times as long as a look at it. Invariant: an access that
// faults ends with "cannot be read" or "cannot be written": a signal handler continues behind the
// accessing instructions, whose addresses are in a table, as in kernels. They are assembler, so
// that no sanitizer attributes the device's access to the program.
#pragma once

#include <array>
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
// Returns true if a thread that does not block SIGSEGV and SIGBUS may call the functions below: not
// if another handler of SIGSEGV has replaced this one.
bool is_usable() noexcept;

// For a handler of a fault: if a guarded access raised it, makes the context continue behind it and
// returns true. Async-signal-safe.
bool recover(void* context) noexcept;

inline constexpr std::size_t kStepBytes = 64;
// Returns the number of bytes from `address` on that equal the repeated pattern; nothing if a byte
// up to the first different one cannot be read. `bytes` is a multiple of kStepBytes.
std::optional<std::size_t> equal_bytes(std::uint64_t address, std::size_t bytes,
                                       std::uint64_t pattern) noexcept;
// Copies words of 8 bytes; returns how many could be read, from the first on.
std::size_t read_words(std::uint64_t address, void* to, std::size_t words) noexcept;
// Writes bytes 8 to 31 of a completion record, and then the first word, which has the status: a
// reader that sees the status sees the rest. Returns false if it cannot be written.
bool write_record(std::uint64_t address, const std::array<std::byte, 32>& record) noexcept;

}  // namespace migrate::accel::softdsa::guarded
