// A session's side of the main channel: a thread that reads frames, keeps both sides' liveness,
// carries the first error to the peer, and takes the peer's. Invariants: whatever ends the session
// here is told to the peer, if it can still hear; a peer that says nothing for io-timeout is given
// up. A heartbeat speaks for the session and not for this thread: none is sent once the session has
// failed, which it has as soon as the thread that runs it is gone (see presence.hpp).
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
#include "engine/link_times.hpp"
#include "transport/control_channel.hpp"

namespace migrate::engine {

class PeerLink {
    using Clock = std::chrono::steady_clock;

  public:
    struct Options {
        std::string name;  // of the thread
        std::chrono::milliseconds io_timeout{};
        // Asked once when the peer is told of a failure: whether a guest that arrived runs here; if
        // it answers no, it never will; nothing: it cannot be known. Without it, no guest does.
        std::function<std::optional<bool>()> guest_runs{};
        // Gives that failure the kind that the peer is told; without it, it keeps its own.
        std::function<Error(Error)> settled{};
        // After this frame the peer owes no heartbeat.
        std::optional<transport::FrameType> last_of_peer{};
    };
    // Starts the thread. `cancellation` and `times` outlive the link. Fails, having told the peer,
    // if the thread cannot be started. Until agree() the peer's silence is not judged: it prepares,
    // which handshake-timeout limits.
    static Result<std::unique_ptr<PeerLink>> create(
        std::unique_ptr<transport::ControlChannel> channel, Options options, ThreadTimes& times,
        Cancellation& cancellation);
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
    // The same, but nothing after `timeout`. kLostConnection if the peer was lost.
    Result<std::optional<transport::Frame>> expect_within(
        std::initializer_list<transport::FrameType> types, std::chrono::milliseconds timeout);

    // The same, for as long as the peer is heard: kTimeout once it was silent for so long.
    Result<transport::Frame> expect_while_heard(std::initializer_list<transport::FrameType> types,
                                                std::chrono::milliseconds silence);

    // What both sides' io-timeouts come to. Session's thread, once.
    void agree(const LinkTimes& times);

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
    PeerLink(std::unique_ptr<transport::ControlChannel> channel, Options options,
             Cancellation& cancellation);
    Status run();
    Status follow();
    Status take(transport::Frame frame);
    std::chrono::milliseconds until_heartbeat() const;
    bool peer_is_silent() const;
    // Called with mutex_ held and a frame in the queue.
    Result<transport::Frame> take_queued(std::initializer_list<transport::FrameType> types);
    bool await_room();
    bool may_wait_for_room() const;
    void say_goodbye(const Error& error);
    void await_reason();

    std::unique_ptr<transport::ControlChannel> channel_;
    const Options options_;
    Cancellation& cancellation_;
    std::atomic<std::chrono::milliseconds> interval_;  // between heartbeats
    std::atomic<bool> judges_{false};                  // after agree()
    std::atomic<Clock::time_point> judged_from_{};     // set before judges_
    std::atomic<Clock::time_point> last_frame_{};      // when it came; the epoch: none yet
    std::atomic<Clock::time_point> stopped_at_{};      // the session; the epoch: not yet
    std::atomic<bool> sends_heartbeats_{true};
    std::atomic<bool> expects_heartbeats_{true};
    std::atomic<bool> done_passed_{
        false};  // after DONE, either way, a closed connection is no loss
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
