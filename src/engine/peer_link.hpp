// One side of a session's main channel. Its thread reads frames, sends heartbeats and checks the
// peer's, sends the first error to the peer, and takes the peer's error. Invariants: the peer is
// told whatever ends the session here, if it can still be reached; the session fails if the peer is
// silent for io-timeout. A heartbeat stands for the session, not for this thread: none is sent once
// the session has failed, and it fails as soon as the thread that runs it is gone (see
// presence.hpp).
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
        std::string name;  // name of the thread
        std::chrono::milliseconds io_timeout{};
        // Called once when the peer is told of a failure. Returns true if a guest that arrived runs
        // here, false if it never will, nothing if that is unknown. If not set, no guest runs here.
        std::function<std::optional<bool>()> guest_runs{};
        // Returns that failure with the kind that the peer is told. If not set, the failure keeps
        // its kind.
        std::function<Error(Error)> settled{};
        // After this frame the peer need not send heartbeats.
        std::optional<transport::FrameType> last_of_peer{};
    };
    // Starts the thread. `cancellation` and `times` outlive the link. If the thread cannot be
    // started, tells the peer and fails. Before agree() the peer may be silent: it prepares, and
    // handshake-timeout limits that.
    static Result<std::unique_ptr<PeerLink>> create(
        std::unique_ptr<transport::ControlChannel> channel, Options options, ThreadTimes& times,
        Cancellation& cancellation);
    // Ends the thread. If the session failed here, the peer has been told by then.
    ~PeerLink();
    PeerLink(const PeerLink&) = delete;
    PeerLink& operator=(const PeerLink&) = delete;

    Status send(transport::FrameType type, std::string_view body);
    Status send(transport::FrameType type, std::span<const std::byte> first,
                std::span<const std::byte> second) {
        return channel_->send(type, first, second);
    }

    // Waits for the next frame; kProtocol if it has none of these types. kTimeout after `timeout`
    // (std::nullopt: waits as long as the peer is alive); the session's error if it failed.
    Result<transport::Frame> expect(std::initializer_list<transport::FrameType> types,
                                    std::optional<std::chrono::milliseconds> timeout);
    // The same, but returns nothing after `timeout`. kLostConnection if the peer was lost.
    Result<std::optional<transport::Frame>> expect_within(
        std::initializer_list<transport::FrameType> types, std::chrono::milliseconds timeout);

    // The same, for as long as the peer sends anything: kTimeout once it was silent for `silence`.
    Result<transport::Frame> expect_while_heard(std::initializer_list<transport::FrameType> types,
                                                std::chrono::milliseconds silence);

    // Applies the times derived from both sides' io-timeouts; the peer's silence is judged from now
    // on. Called once, by the session's thread.
    void agree(const LinkTimes& times);

    // This side sends no heartbeat from now on: its last frame follows or is sent.
    void stop_sending_heartbeats() { sends_heartbeats_.store(false, std::memory_order_relaxed); }
    // The peer need not send heartbeats from now on.
    void stop_expecting_heartbeats() {
        expects_heartbeats_.store(false, std::memory_order_relaxed);
    }
    // A failed peer's statement about the guest: true if the guest runs there, false if it does not
    // and never will. Nothing if the peer did not fail or cannot know.
    std::optional<bool> peer_runs_guest() const;
    // Ends the link: the peer may close the connection, and this side reads no more. Idempotent.
    void finish();

    std::uint64_t bytes_sent() const { return channel_->bytes_sent(); }
    std::uint64_t bytes_received() const { return channel_->bytes_received(); }
    Result<transport::Endpoint> peer() const { return channel_->peer(); }
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
    std::atomic<bool> judges_{false};                  // set by agree()
    std::atomic<Clock::time_point> judged_from_{};     // set before judges_
    // When the last frame arrived; the epoch if none has.
    std::atomic<Clock::time_point> last_frame_{};
    // When the session stopped; the epoch if it has not.
    std::atomic<Clock::time_point> stopped_at_{};
    std::atomic<bool> sends_heartbeats_{true};
    std::atomic<bool> expects_heartbeats_{true};
    // DONE was sent or received: a closed connection is no loss any more.
    std::atomic<bool> done_passed_{false};
    std::atomic<bool> finished_{false};
    bool peer_gave_up_ = false;  // link thread only
    mutable std::mutex mutex_;
    std::condition_variable_any arrived_;
    std::condition_variable_any taken_;
    std::deque<transport::Frame> frames_;  // guarded by mutex_
    std::size_t state_frames_ = 0;         // frames of state in frames_; guarded by mutex_
    std::optional<bool> peer_runs_guest_;  // guarded by mutex_
    // When the queue was last seen full; link thread only.
    Clock::time_point last_full_{};
    std::stop_callback<std::function<void()>> on_stop_;
    std::optional<SessionThread> thread_;
};

}  // namespace migrate::engine
