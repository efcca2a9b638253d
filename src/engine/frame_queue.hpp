// SPDX-License-Identifier: Apache-2.0
// The frames of a main channel that were read and not taken yet. Invariant: the queue is bounded.
// Its reader stops while it is full of device state or of a broken round's pages, which may come as
// fast as this side takes them; a peer that sends more of any other frames than an exchange has is
// an error.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <stop_token>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "transport/control_frame.hpp"

namespace migrate::engine {

class FrameQueue {
  public:
    // Called by the reader: false if the queue is full of device state.
    bool has_room();
    // Called by the reader. Waits up to `timeout` for room; returns false if there is none.
    bool await_room(std::chrono::milliseconds timeout, const std::stop_token& stop);
    // Called by the reader. kProtocol if the peer floods the queue.
    Status put(transport::Frame frame);

    // No further frame comes: take() returns those that have come, and then nothing at once.
    void close();
    // Drops all frames; others may come again.
    void reopen();

    // Waits for the next frame, up to `timeout` if there is one; nothing after the timeout, a
    // stop or close().
    std::optional<transport::Frame> take(std::optional<std::chrono::milliseconds> timeout,
                                         const std::stop_token& stop);

  private:
    Mutex mutex_;
    StopCondition arrived_;
    StopCondition taken_;
    std::deque<transport::Frame> frames_ GUARDED_BY(mutex_);
    std::size_t state_frames_ GUARDED_BY(mutex_) = 0;  // those in frames_
    bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace migrate::engine
