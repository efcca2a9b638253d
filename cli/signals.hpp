// SPDX-License-Identifier: Apache-2.0
// The signals that end a migration, as a descriptor to poll and as a stop token. Invariant: a
// signal never ends the process half-way. The first one cancels; a second one ends the program
// immediately, whatever blocks the other threads, because a separate thread takes the signals.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include "base/blocking_call.hpp"
#include "base/error.hpp"

namespace migrate::cli {

// SIGINT, SIGTERM, SIGHUP and SIGQUIT. SIGHUP (nohup) and SIGQUIT stay ignored if they were ignored
// when the program started.
class Signals {
  public:
    // The effect of a second signal before the first was taken. A signal counts as a second one
    // only 50 ms after the first, because timeout(1) sends its signal twice. A SIGHUP never does,
    // because it follows a terminal's hang-up and systemd's SIGTERM.
    enum class Second { kLeaves, kIsIgnored };

    // Call it before any other thread starts: all threads block these signals from then on, even
    // after the object is destroyed.
    static Result<Signals> create(Second second = Second::kLeaves);
    Signals(Signals&&) noexcept;
    Signals& operator=(Signals&&) = delete;
    ~Signals();

    // Readable from the arrival of a signal until it is taken.
    int fd() const;
    // Requested at the first signal, permanently.
    std::stop_token token() const;
    // Waits for `time`, or without a limit; returns true if a signal came, and does not take it.
    Result<bool> came_within(std::optional<std::chrono::milliseconds> time) const;
    // Handles a second signal: concludes the run within a fraction of a second, and returns the
    // exit code. Runs on the thread that takes signals. If empty, a message is printed and the code
    // is that of kCancelled.
    using Leave = std::function<int(std::string_view signal)>;
    void on_second(Leave leave) const;
    // The signal's name, a literal: "SIGINT"; empty if none came or it was taken.
    std::string_view received() const;
    // Takes the signal and returns its name: it counts as handled, and the next signal is a first
    // one.
    std::string_view take() const;

  private:
    struct State;
    explicit Signals(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// Runs work that may block, such as opening a file or filling memory, and abandons it at the first
// signal. `work` owns everything that it uses.
template <typename T, typename Work>
Result<T> unless_signalled(const Signals& signals, const std::string& what, Work work) {
    Result<T> result = call_within<T>(what, {.stop = signals.token()}, std::move(work));
    const std::string_view name = signals.received();
    if (!name.empty()) return make_error(ErrorKind::kCancelled, "{} received", signals.take());
    return result;
}

}  // namespace migrate::cli
