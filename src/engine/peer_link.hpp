// SPDX-License-Identifier: Apache-2.0
// One side of a session's main channel. Its thread reads frames, sends heartbeats and checks that
// the peer's heartbeats arrive. It sends this side's first error to the peer, and passes the peer's
// error on to the session. Its connection can be lost while its session goes on, and a new
// connection can take its place. Invariants: the peer gets the error that ends the session here, if
// it can still be reached; the session fails, or survives a lost connection, if the peer is silent
// for io-timeout; it fails if the peer sends a frame out of sequence. A heartbeat proves that the
// session is alive, not this thread: a failed session sends none, and a session fails as soon as
// its own thread has ended (engine/presence.hpp).
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/cancellation.hpp"
#include "base/error.hpp"
#include "base/thread.hpp"
#include "engine/frame_queue.hpp"
#include "engine/link_connection.hpp"
#include "engine/link_times.hpp"
#include "engine/liveness.hpp"
#include "transport/control_channel.hpp"
#include "transport/handshake.hpp"
#include "transport/sequence.hpp"

namespace migrate::engine {

// The error that a peer's FAILURE or REFUSE stands for; the outcome that it names decides the kind.
Error error_of_peer(const transport::Failure& failure);

class PeerLink {
    using Clock = std::chrono::steady_clock;

  public:
    struct Options {
        std::string name;  // name of the thread
        std::chrono::milliseconds io_timeout{};
        // Called once when the peer is told of a failure. Returns true if a guest that arrived runs
        // here, false if it never will, nothing if that is unknown. If not set, no guest runs here.
        std::function<std::optional<bool>()> guest_runs{};
        // Converts that failure to the kind that is sent to the peer. If not set, the kind is kept.
        std::function<Error(Error)> settled{};
        // After this frame the peer need not send heartbeats.
        std::optional<transport::FrameType> last_of_peer{};
        // This side, and the place of the session in the sequence of frames. If not set, the caller
        // alone decides which frame may come.
        transport::Party party = transport::Party::kSender;
        std::optional<transport::Sequence> sequence{};
    };
    // Starts the thread. The session's `cancellation` and `times` outlive the link. If the thread
    // cannot be started, tells the peer and fails. Before agree() the peer may be silent: it
    // prepares, and handshake-timeout limits that.
    static Result<std::unique_ptr<PeerLink>> create(
        std::unique_ptr<transport::ControlChannel> channel, Options options, ThreadTimes& times,
        Cancellation& cancellation);
    // Ends the thread. If the session failed here, the peer has been told by then; otherwise the
    // session goes on.
    ~PeerLink();
    PeerLink(const PeerLink&) = delete;
    PeerLink& operator=(const PeerLink&) = delete;

    // These and agree() are called by the session's thread.
    Status send(transport::FrameType type, std::string_view body);
    Status send(transport::FrameType type, std::span<const std::byte> first,
                std::span<const std::byte> second);

    // Waits for the next frame; kProtocol if it has none of these types, or if the sequence does
    // not allow it. kTimeout after `timeout` (std::nullopt: waits as long as the peer is alive);
    // the session's error if it failed.
    Result<transport::Frame> expect(transport::FrameSet types,
                                    std::optional<std::chrono::milliseconds> timeout);
    // The same, but returns nothing after `timeout`. kLostConnection if the peer was lost.
    Result<std::optional<transport::Frame>> expect_within(transport::FrameSet types,
                                                          std::chrono::milliseconds timeout);

    // Like expect(), but without a limit while frames come: kTimeout once none came for `silence`.
    Result<transport::Frame> expect_while_heard(transport::FrameSet types,
                                                std::chrono::milliseconds silence);
    // Waits for whatever frame the sequence allows now, as long as the peer is alive.
    Result<transport::Frame> next();

    // Applies the times derived from both sides' io-timeouts, and the kind of session and its last
    // frame that were agreed on; the peer's silence is judged from now on. Called once.
    void agree(const LinkTimes& times, transport::SessionKind kind = transport::SessionKind::kImage,
               transport::LastFrame last = transport::LastFrame::kDone);

    // The frames of post-copy may come.
    void allow_postcopy() { options_.sequence->allow_postcopy(); }

    // From now on the session survives the loss of the connection (its end, a peer that is silent),
    // until fail_on_loss(): `on_lost` is called, and the functions above fail with kLostConnection
    // until resume(). `on_lost` does not use the link.
    void survive_loss(std::function<void()> on_lost) { connection_.survive(std::move(on_lost)); }
    // From now on it ends the session. The error of a connection that was lost before.
    Status fail_on_loss() { return connection_.fail_on_loss(); }
    bool survives_loss() const { return connection_.survives(); }
    // True if the connection was lost, and the session survived that. Session's thread.
    bool lost() const { return connection_.lost().has_value(); }
    // Why; empty if it was not lost.
    std::string loss_reason() const;
    // Replaces a connection that was lost. The next frame is RESUMED, and then both sides call
    // resumed_in(). Called by the session's thread.
    Status resume(std::unique_ptr<transport::ControlChannel> channel);
    void resumed_in(std::uint32_t round, bool complete) {
        options_.sequence->resume(round, complete);
    }
    // The same once the sender has handed its guest over; see Sequence.
    void resumed_in_handover(bool came) { options_.sequence->resume_handover(came); }
    // Gives up a connection that the peer does not use: it is lost from now on.
    void drop();
    // The same for a peer that may be about to say why it fails: waits for that up to a second.
    void leave();

    // This side sends no heartbeat from now on: its last frame was sent or is the next one.
    void stop_sending_heartbeats() { liveness_.stop_sending(); }
    // The frame after which stop_sending_heartbeats() was called was not the last one after all.
    void resume_heartbeats() { liveness_.resume_sending(); }
    // The peer need not send heartbeats from now on.
    void stop_expecting_heartbeats() { liveness_.stop_expecting(); }
    // Returns the statement of the peer's FAILURE about the guest: true if it runs there, false if
    // it does not and never will. Nothing if no FAILURE came, or if the peer does not know.
    std::optional<bool> peer_runs_guest() const {
        const PeerGuest guest = peer_guest_.load();
        return guest == PeerGuest::kUnknown ? std::nullopt
                                            : std::optional(guest == PeerGuest::kRuns);
    }
    // The sender: DONE came. Tells the receiver so if that was agreed on; this side's last frame. A
    // failure changes nothing: the session is complete.
    void acknowledge_done();
    // Ends the link but not the session: the peer may close the connection, and this side reads no
    // more frames. Idempotent.
    void finish();

    std::uint64_t bytes_sent() const { return connection_.bytes_sent(); }
    std::uint64_t bytes_received() const { return connection_.bytes_received(); }
    Result<transport::Endpoint> peer() const { return connection_.get()->peer(); }
    std::string peer_name() const { return connection_.get()->peer_name(); }
    transport::SecurityInfo security() const { return connection_.get()->security(); }

  private:
    enum class PeerGuest : std::uint8_t { kUnknown, kRuns, kNeverRuns };
    PeerLink(std::unique_ptr<transport::ControlChannel> channel, Options options,
             ThreadTimes& times, Cancellation& session);
    Status start_thread();
    Status run();
    Status follow();
    Status take(transport::Frame frame);
    bool await_room();
    bool may_wait_for_room() const;
    Status check(transport::FrameSet types, transport::FrameType came);
    void send_failure(const Error& error);
    void await_reason();
    LinkConnection::Channel current() const { return connection_.get(); }
    std::optional<Error> reason_to_stop() const;

    LinkConnection connection_;
    ThreadTimes& times_;
    Options options_;  // only the session's thread uses options_.sequence
    Cancellation cancellation_;
    Liveness liveness_;
    FrameQueue queue_;
    // When the last frame arrived; the epoch if none has.
    std::atomic<Clock::time_point> last_frame_{};
    // When the session stopped; the epoch if it has not.
    std::atomic<Clock::time_point> stopped_at_{};
    // The last frame but a sender's DONE_ACK was sent or received: from now on a closed connection
    // is no error.
    std::atomic<bool> done_passed_{false};
    std::atomic<bool> acknowledges_{false};  // DONE_ACK was agreed on
    std::atomic<bool> finished_{false};
    bool peer_ended_ = false;  // FAILURE or REFUSE came, or the connection ended; link thread only
    std::atomic<PeerGuest> peer_guest_{PeerGuest::kUnknown};
    std::stop_callback<std::function<void()>> on_stop_;
    std::optional<SessionThread> thread_;
};

}  // namespace migrate::engine
