// The signals that end a migration, as something to poll and as a stop token. Invariant: a signal
// never ends the process half-way. The first cancels; a second one leaves at once, whatever the
// other threads are blocked in, because a thread of its own takes the signals.
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

// SIGINT, SIGTERM, SIGHUP and SIGQUIT. SIGHUP (nohup) and SIGQUIT stay ignored if the program was
// started so.
class Signals {
  public:
    // The effect of a second signal before the first was taken. A signal counts as a second one
    // only 50 ms after the first, because timeout(1) sends its signal twice. A SIGHUP never does,
    // because it follows a terminal's hang-up and systemd's SIGTERM.
    enum class Second { kLeaves, kIsIgnored };

    // Before any other thread: all threads block these signals from here on, which stays so when
    // the object is gone.
    static Result<Signals> create(Second second = Second::kLeaves);
    Signals(Signals&&) noexcept;
    Signals& operator=(Signals&&) = delete;
    ~Signals();

    // Readable from a signal's arrival until it is taken.
    int fd() const;
    // Requested at the first signal of all, for good.
    std::stop_token token() const;
    // Waits for that long, or for ever; true if a signal came, which is not taken.
    Result<bool> came_within(std::optional<std::chrono::milliseconds> time) const;
    // How a second signal leaves: concludes the run within a fraction of a second, and returns the
    // exit code. Runs on the thread that takes signals. Empty: with a message and kCancelled.
    using Leave = std::function<int(std::string_view signal)>;
    void on_second(Leave leave) const;
    // Its name, a literal: "SIGINT"; empty if none came or it was taken.
    std::string_view received() const;
    // Takes and names it: it has been dealt with, and the next signal counts as a first one.
    std::string_view take() const;

  private:
    struct State;
    explicit Signals(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// Runs what may block, as opening a file or filling memory does, and gives it up at the first
// signal. `work` owns everything that it uses.
template <typename T, typename Work>
Result<T> unless_signalled(const Signals& signals, const std::string& what, Work work) {
    Result<T> result = call_within<T>(what, {.stop = signals.token()}, std::move(work));
    const std::string_view name = signals.received();
    if (!name.empty()) return make_error(ErrorKind::kCancelled, "{} received", signals.take());
    return result;
}

}  // namespace migrate::cli
