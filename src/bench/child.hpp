// SPDX-License-Identifier: Apache-2.0
// A process that the bench starts. Invariants: it has a deadline, it ends when the bench is
// interrupted, and it never outlives its object.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::bench {

struct Ended {
    int code = 0;       // exit code, or 128 + the signal's number
    double cpu_ms = 0;  // of all its threads, user and system
    double wall_ms = 0;
};

// Empty if a program of that name is on the PATH; otherwise that it is not installed, and which
// Debian package has it.
std::string program_missing(const std::string& program, const std::string& package);

class Child {
  public:
    using Clock = std::chrono::steady_clock;

    // `program` is a path or a name on the PATH; its output goes to the file `log`.
    static Result<Child> start(const std::string& program,
                               const std::vector<std::string>& arguments,
                               const std::filesystem::path& log);
    Child(Child&& other) noexcept;
    Child& operator=(Child&&) = delete;
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child();

    // Waits for the end. At the deadline, and when `stop_fd` becomes readable, the child is killed
    // and the result is kTimeout or kCancelled. `stop_fd` may be -1.
    Result<Ended> wait(Clock::time_point deadline, int stop_fd);
    bool running();
    pid_t pid() const { return pid_; }
    // The last part of its output, for an error's message.
    std::string words() const;

  private:
    Child(pid_t pid, UniqueFd pidfd, std::filesystem::path log)
        : pid_(pid), pidfd_(std::move(pidfd)), log_(std::move(log)), began_(Clock::now()) {}
    Ended reap();
    void kill_now();

    pid_t pid_ = -1;  // -1: ended, and waited for
    UniqueFd pidfd_;
    std::filesystem::path log_;
    Clock::time_point began_;
};

}  // namespace migrate::bench
