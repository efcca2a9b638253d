// SPDX-License-Identifier: Apache-2.0
// A file that others read while the program runs, and that always has a recent text. Invariants:
// no call waits for the file system, except finish(); a text that comes while an earlier one is
// being written, or too soon after it, is dropped; no failure is more than a warning.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/blocking_call.hpp"
#include "base/error.hpp"

namespace migrate::cli {

class LatestFile {
  public:
    // Replaces the file's content by the text; may block.
    using Write = std::function<Status(const std::string& text)>;

    static constexpr std::chrono::milliseconds kInterval{1000};

    // `interval`: the least time between two writes.
    explicit LatestFile(Write write, std::chrono::milliseconds interval = kInterval)
        : write_(std::make_shared<Write>(std::move(write))), interval_(interval) {}

    // True if offer() would write now, so that a caller makes a text only then.
    bool wants_text();
    // Writes the text in the background, if wants_text().
    void offer(std::string text);
    // Writes the last text, and waits for it at most `longest`. A write that takes longer is left
    // behind (base/blocking_call).
    void finish(std::string text, std::chrono::milliseconds longest);

  private:
    using Done = std::monostate;
    using Clock = std::chrono::steady_clock;

    Result<OngoingCall<Done>> start(std::string text);
    void note(const Status& written);

    std::shared_ptr<Write> write_;  // shared with a call that is left behind
    std::chrono::milliseconds interval_;
    std::optional<OngoingCall<Done>> ongoing_;
    std::optional<Clock::time_point> began_;  // when the last write did
    bool failed_ = false;                     // the last one did, and the warning was given
};

}  // namespace migrate::cli
