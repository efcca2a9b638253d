// A session's side of the main channel: a thread that reads frames, keeps both sides' liveness,
// carries the first error to the peer, and takes the peer's. Invariant: whatever ends the session
// here is told to the peer, if it can still hear; a peer that says nothing for io-timeout is given
// up.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "base/cancellation.hpp"
#include "base/error.hpp"
#include "base/thread.hpp"
#include "transport/control_channel.hpp"

namespace migrate::engine {

class PeerLink {
    using Clock = std::chrono::steady_clock;

  public:
    // Starts the thread, named `name`. `cancellation` and `times` outlive the link.
    // `guest_runs`, asked once when the peer is told of a failure: whether a guest that arrived
    // runs here; if it answers no, it never will; nothing: it cannot be known. Without it, no guest
    // does.
    PeerLink(std::unique_ptr<transport::ControlChannel> channel,
             std::chrono::milliseconds io_timeout, std::string name, ThreadTimes& times,
             Cancellation& cancellation, std::function<std::optional<bool>()> guest_runs = {});
    // Ends the thread; if the session failed here, the peer has been told by then.
    ~PeerLink();
    PeerLink(const PeerLink&) = delete;
    PeerLink& operator=(const PeerLink&) = delete;

    Status send(transport::FrameType type, std::string_view body);
    Status send(transport::FrameType type, std::span<const std::byte> first,
                std::span<const std::byte> second) {
        return channel_->send(type, first, second);
    }

    // The next frame, which has to be of one of these types. kTimeout after `timeout` (none: as
    // long as the peer is alive); the session's error if it failed.
    Result<transport::Frame> expect(std::initializer_list<transport::FrameType> types,
                                    std::optional<std::chrono::milliseconds> timeout);

    // From here on this side sends no heartbeat: its last frame is out.
    void stop_sending_heartbeats() { sends_heartbeats_.store(false, std::memory_order_relaxed); }
    // From here on the peer owes none.
    void stop_expecting_heartbeats() {
        expects_heartbeats_.store(false, std::memory_order_relaxed);
    }
    // The peer failed and gave its word on the guest: that it runs it, or does not and never will.
    // Nothing: it did not fail, or cannot know.
    std::optional<bool> peer_runs_guest() const;
    // All is done: the peer may close the connection, and this side reads no more. Idempotent.
    void finish();

    std::uint64_t bytes_sent() const { return channel_->bytes_sent(); }
    std::uint64_t bytes_received() const { return channel_->bytes_received(); }
    int fd() const { return channel_->fd(); }
    std::string peer_name() const { return channel_->peer_name(); }

  private:
    Status run();
    Status follow();
    Status take(transport::Frame frame);
    bool await_room();
    void say_goodbye();
    void await_reason();

    std::unique_ptr<transport::ControlChannel> channel_;
    std::chrono::milliseconds io_timeout_;
    std::chrono::milliseconds interval_;  // between heartbeats
    Cancellation& cancellation_;
    std::atomic<bool> sends_heartbeats_{true};
    std::atomic<bool> expects_heartbeats_{true};
    std::atomic<bool> done_passed_{
        false};  // after DONE, either way, a closed connection is no loss
    std::function<std::optional<bool>()> guest_runs_;
    std::atomic<bool> finished_{false};
    bool peer_gave_up_ = false;  // link thread only
    mutable std::mutex mutex_;
    std::condition_variable_any arrived_;
    std::condition_variable_any taken_;
    std::deque<transport::Frame> frames_;  // guarded by mutex_
    std::size_t state_frames_ = 0;         // of them; guarded by mutex_
    std::optional<bool> peer_runs_guest_;  // guarded by mutex_
    // When the queue was last seen full; link thread only.
    Clock::time_point last_full_{};
    std::stop_callback<std::function<void()>> on_stop_;
    std::optional<SessionThread> thread_;
};

}  // namespace migrate::engine
