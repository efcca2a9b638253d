// SPDX-License-Identifier: Apache-2.0
// Writes to a file, pipe or terminal on a thread of its own, so that no caller waits for it.
// Invariants: write() never waits for the output, fails or throws. Messages are written whole and
// in order. A message that finds the queue full is dropped and counted, and a line with the count
// is written as soon as the output accepts text again.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/fd.hpp"

namespace migrate {

// kImportant: the few messages that a user must see, such as the error that ended the program.
enum class Importance { kOrdinary, kImportant };

class AsyncWriter {
  public:
    struct Options {
        std::size_t queue_bytes = std::size_t{256} * 1024;  // limit of messages not yet written
        // Additional, for important messages only.
        std::size_t reserve_bytes = std::size_t{64} * 1024;
        // Returns the line that reports this number of dropped messages.
        std::function<std::string(std::uint64_t)> dropped_line{};
        // False: an error loses its message, and the next message is tried again. True: the first
        // error ends the output. EPIPE and EBADF always end it.
        bool ends_at_error = false;
        // Called on the writer's thread with the errno that ended a `ends_at_error` output.
        std::function<void(int)> on_end{};
    };

    // `fd` stays open as long as the process lives.
    AsyncWriter(int fd, Options options);
    AsyncWriter(UniqueFd fd, Options options);
    // Drops what is not written. Does not wait: a thread that is blocked in write(2) is left behind
    // with the descriptor, which it closes when it returns.
    ~AsyncWriter();
    AsyncWriter(const AsyncWriter&) = delete;
    AsyncWriter& operator=(const AsyncWriter&) = delete;

    // Any thread. In the child of a fork(), where the writer's thread does not exist, the call
    // itself writes: it waits at most one second and takes no lock.
    void write(std::string message, Importance importance = Importance::kOrdinary) noexcept;

    // Waits until everything is written (or dropped by an error). Returns false if the output
    // accepted nothing for `longest_stall`, or not everything within kLongestFlush.
    static constexpr std::chrono::seconds kLongestFlush{10};
    bool flush(std::chrono::milliseconds longest_stall) noexcept;

    // Number of messages that were dropped but not yet reported, and of those still queued.
    std::uint64_t unwritten() const;

  private:
    struct State;
    AsyncWriter(UniqueFd owned, int fd, Options options);
    std::shared_ptr<State> state_;  // shared with the thread
};

}  // namespace migrate
