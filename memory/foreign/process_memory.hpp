// SPDX-License-Identifier: Apache-2.0
// Reads and writes memory of another process by system calls, which needs no help of that process.
// Invariant: the process is the one that had this number when it was opened; once that has ended,
// every call fails.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::memory {

class ProcessMemory {
  public:
    // kRefused, with the remedy, if the process may not be accessed. Touches none of its memory.
    static Result<ProcessMemory> open(pid_t pid);

    pid_t pid() const { return pid_; }
    // "qemu-system-x86 (pid 4711)"
    const std::string& description() const { return description_; }

    // Copies memory from or to `address` in the process. An Error if it has ended, or if a part of
    // the memory is not mapped there or may not be accessed. Thread-safe.
    Status read(std::uint64_t address, std::span<std::byte> to) const;
    Status write(std::uint64_t address, std::span<const std::byte> from) const;
    // An Error if the process has ended. Takes a system call. Thread-safe.
    Status check_alive() const;

  private:
    ProcessMemory(pid_t pid, UniqueFd process, std::string description)
        : pid_(pid), process_(std::move(process)), description_(std::move(description)) {}

    pid_t pid_;
    UniqueFd process_;  // a pidfd
    std::string description_;
};

}  // namespace migrate::memory
