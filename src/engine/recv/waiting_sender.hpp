// SPDX-License-Identifier: Apache-2.0
// A sender that was accepted and whose channels are awaited: its session has not begun. Invariant:
// the sender hears from this side all the time, and its end or its reason to give up is noticed.
#pragma once

#include <chrono>
#include <memory>

#include "base/error.hpp"
#include "transport/control_channel.hpp"

namespace migrate::engine {

class WaitingSender {
  public:
    using Clock = std::chrono::steady_clock;
    // Time between two looks at the sender.
    static constexpr std::chrono::milliseconds kInterval{25};

    explicit WaitingSender(std::unique_ptr<transport::ControlChannel> main)
        : main_(std::move(main)) {}

    // Sends a heartbeat and reads what has come, unless the last look was less than kInterval ago.
    // Fails if the sender has closed the connection, gives up, or sends what may not come yet. Does
    // not wait.
    Status look();
    // Tells the sender why its session does not begin. Waits a moment for it to read that.
    void tell(const Error& reason);
    // The session begins: the main channel.
    std::unique_ptr<transport::ControlChannel> take() { return std::move(main_); }

  private:
    std::unique_ptr<transport::ControlChannel> main_;
    Clock::time_point looked_{};
};

// True if an error of look(), or of the wait for the sender's channels, is the sender's or the
// network's: another sender may be served. An error of this host is none.
bool concerns_sender_only(const Error& error);

}  // namespace migrate::engine
