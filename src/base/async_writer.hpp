// A file, pipe or terminal that a thread of its own writes to, so that no caller waits for it.
// Invariants: write() never waits for the output, fails or throws. Messages are written whole and
// in order. A message that finds the queue full is dropped and counted, and a line with the count
// is written as soon as the output takes text again.
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
        std::size_t queue_bytes = std::size_t{256} * 1024;   // of messages not yet written
        std::size_t reserve_bytes = std::size_t{64} * 1024;  // more, for important messages only
        // The line that tells of so many dropped messages.
        std::function<std::string(std::uint64_t)> dropped_line{};
        // False: an error costs its message, and the next message is tried again. True: the first
        // error is the end. EPIPE and EBADF always are.
        bool ends_at_error = false;
        // Called on the writer's thread with the errno that was the end of a `ends_at_error`
        // output.
        std::function<void(int)> on_end{};
    };

    // `fd` stays open as long as the process.
    AsyncWriter(int fd, Options options);
    AsyncWriter(UniqueFd fd, Options options);
    // Drops what is not written. Does not wait: a thread that is blocked in write(2) is left behind
    // with the descriptor, which it closes when it returns.
    ~AsyncWriter();
    AsyncWriter(const AsyncWriter&) = delete;
    AsyncWriter& operator=(const AsyncWriter&) = delete;

    // Any thread. In the child of a fork(), where the thread does not exist, it writes by itself,
    // for at most one second, and takes no lock.
    void write(std::string message, Importance importance = Importance::kOrdinary) noexcept;

    // Waits until everything is written (or dropped by an error). False if the output took nothing
    // for `longest_stall`, or not everything within kLongestFlush.
    static constexpr std::chrono::seconds kLongestFlush{10};
    bool flush(std::chrono::milliseconds longest_stall) noexcept;

    // Messages that were dropped and not yet told of, and those that still wait.
    std::uint64_t unwritten() const;

  private:
    struct State;
    AsyncWriter(UniqueFd owned, int fd, Options options);
    std::shared_ptr<State> state_;  // shared with the thread
};

}  // namespace migrate
