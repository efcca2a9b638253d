// SPDX-License-Identifier: Apache-2.0
// A child process under test, mostly the built `migrate`, with its output collected.
// Invariants: every wait has a deadline and waits by poll, never by sleeping; the child does not
// outlive its object.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.hpp"

namespace migrate::e2e {

// Generous: a sanitizer on a busy machine is slow, and a pass never waits for it.
inline constexpr std::chrono::seconds kDeadline{60};

// The conditions that a process starts with.
struct Surroundings {
    std::vector<int> closed{};                       // closed in the child
    int out = -1;                                    // its standard output; -1: collected
    int err = -1;                                    // its standard error; -1: collected
    std::vector<std::pair<int, int>> descriptors{};  // ours, and its number there
    std::vector<int> ignored{};                      // signals
    std::uint64_t largest_file = 0;                  // RLIMIT_FSIZE in bytes; 0: no limit
    std::vector<std::string> environment{};          // NAME=VALUE, beside the test's own
};

class Process {
  public:
    // Starts MIGRATE_BINARY with these arguments.
    explicit Process(const std::vector<std::string>& arguments);
    Process(const std::vector<std::string>& arguments, const Surroundings& surroundings);
    // `program` is a path.
    Process(const std::string& program, const std::vector<std::string>& arguments,
            const Surroundings& surroundings = {});
    ~Process();
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    // Until standard output or error contains the text; false if the child ends or the deadline
    // passes before.
    bool await_text(std::string_view text);
    // The exit code, or 128 + the signal that ended it. At the deadline the child is killed and the
    // test fails.
    int wait(std::chrono::milliseconds deadline = kDeadline);
    // Collects output for that long or until the child has ended; true if it has.
    bool ended_within(std::chrono::milliseconds time);
    void signal(int number) const;
    pid_t pid() const { return pid_; }
    // Polls for the condition until the child ends or the deadline passes.
    bool await(const std::function<bool()>& condition);

    const std::string& out() const { return out_; }
    const std::string& err() const { return err_; }
    std::string both() const { return out_ + err_; }

  private:
    // Waits for output or the end until `until`; false when it passed.
    bool pump(std::chrono::steady_clock::time_point until);
    void reap();
    static void drain(UniqueFd& from, std::string& to);

    pid_t pid_ = -1;
    UniqueFd pidfd_;
    UniqueFd out_fd_;
    UniqueFd err_fd_;
    std::string out_;
    std::string err_;
    bool ended_ = false;
    int exit_code_ = -1;
};

// `migrate recv` on a port of the kernel's choice, ready to be connected to.
class Receiver {
  public:
    explicit Receiver(std::vector<std::string> arguments, const Surroundings& surroundings = {});
    // A program and its arguments that the receiver is a command of: "prlimit --as=…". What they
    // leave it may be too little to listen.
    struct Under {
        std::vector<std::string> words;
    };
    Receiver(const Under& under, std::vector<std::string> arguments);

    bool listens() const { return port_ != 0; }

    Process& process() { return process_; }
    Process* operator->() { return &process_; }
    std::uint16_t port() const { return port_; }
    std::string endpoint() const;

  private:
    // Returns false if the process ended before it listened.
    bool find_port();

    Process process_;
    std::uint16_t port_ = 0;
};

}  // namespace migrate::e2e
