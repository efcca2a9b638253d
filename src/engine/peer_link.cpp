// SPDX-License-Identifier: Apache-2.0
#include "engine/peer_link.hpp"

#include <algorithm>

#include "base/catching.hpp"
#include "base/log.hpp"
#include "base/memory_reserve.hpp"
#include "base/outcome.hpp"

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using transport::Frame;
using transport::FrameSet;
using transport::FrameType;

// Time for the peer's reason to arrive after a channel was lost.
constexpr milliseconds kReasonGrace{1000};
// Time for the peer to make room for this side's FAILURE and to read it.
constexpr milliseconds kFailureLinger{1000};
// Interval at which a send that finds no room checks whether the session is still alive.
constexpr milliseconds kRoomInterval{100};
// Bodies of FAILURE if there is no memory to encode the reason. Without the key guest-runs, this
// side does not know whether the guest runs here (PROTOCOL.md).
constexpr std::string_view kNoMemoryGuestRuns =
    R"({"cancelled":false,"reason":"out of memory","guest-runs":true})";
constexpr std::string_view kNoMemoryGuestNeverRuns =
    R"({"cancelled":false,"reason":"out of memory","guest-runs":false})";
constexpr std::string_view kNoMemoryGuestUnknown =
    R"({"cancelled":false,"reason":"out of memory"})";

std::string_view failure_without_memory(std::optional<bool> guest_runs) {
    if (!guest_runs) return kNoMemoryGuestUnknown;
    return *guest_runs ? kNoMemoryGuestRuns : kNoMemoryGuestNeverRuns;
}

// True for the frames that end the session and have the peer's reason.
bool ends_session(FrameType type) {
    return type == FrameType::kFailure || type == FrameType::kRefuse;
}

}  // namespace

// The outcome in the peer's FAILURE also determines this side's exit code. An unknown outcome, and
// one that each side decides for itself, count as `failed`. An older peer sends no outcome, only
// whether a user cancelled.
Error error_of_peer(const transport::Failure& failure) {
    const std::string& why = failure.reason;
    const auto outcome = outcome_from_word(failure.outcome);
    if (failure.cancelled || outcome == Outcome::kCancelled) {
        return make_error(ErrorKind::kCancelled, "cancelled by the peer: {}", why);
    }
    if (outcome == Outcome::kRefused) {
        return make_error(ErrorKind::kRefused, "the peer refused: {}", why);
    }
    if (outcome == Outcome::kNotConverged) {
        return make_error(ErrorKind::kNotConverged, "the peer gave up: {}", why);
    }
    return make_error(ErrorKind::kPeer, "the peer failed: {}", why);
}

PeerLink::PeerLink(std::unique_ptr<transport::ControlChannel> channel, Options options,
                   ThreadTimes& times, Cancellation& session)
    : connection_(std::move(channel)),
      times_(times),
      options_(std::move(options)),
      cancellation_(session),
      liveness_(options_.io_timeout),
      on_stop_(cancellation_.token(), [this] {
          stopped_at_.store(Clock::now(), std::memory_order_release);
          current()->wake();
      }) {
    cancellation_.on_lost_connection([this] { current()->wake(); });
}

Result<std::unique_ptr<PeerLink>> PeerLink::create(
    std::unique_ptr<transport::ControlChannel> channel, Options options, ThreadTimes& times,
    Cancellation& cancellation) {
    // An earlier sender's offer may have used up the last reserve.
    keep_memory_reserve();
    std::unique_ptr<PeerLink> link(
        new PeerLink(std::move(channel), std::move(options), times, cancellation));
    MIGRATE_TRY(link->start_thread());
    return link;
}

// Starts to follow the connection.
Status PeerLink::start_thread() {
    // A receiver that loads device state may read nothing for a while. A send to it waits as long
    // as this session is alive. A silent peer ends the session.
    MIGRATE_TRY(current()->wait_for_room_while([this] { return may_wait_for_room(); },
                                               std::min(options_.io_timeout, kRoomInterval)));
    auto thread =
        SessionThread::start(options_.name, times_, cancellation_, [this] { return run(); });
    if (!thread) {
        send_failure(thread.error());
        return std::move(thread).error();
    }
    thread_ = *std::move(thread);
    return {};
}

PeerLink::~PeerLink() {
    cancellation_.on_lost_connection(nullptr);
    finish();
    cancellation_.end();
}

void PeerLink::finish() {
    finished_.store(true, std::memory_order_release);
    current()->wake();
    if (thread_) thread_->join();
}

void PeerLink::agree(const LinkTimes& times, transport::SessionKind kind,
                     transport::LastFrame last) {
    if (options_.sequence) options_.sequence->agree(kind, last);
    acknowledges_.store(last == transport::LastFrame::kDoneAck, std::memory_order_release);
    liveness_.agree(times);
    // The link's thread may still be in a wait of the old interval.
    current()->wake();
}

std::string PeerLink::loss_reason() const {
    const std::optional<Error> lost = connection_.lost();
    return lost ? std::string(lost->message()) : std::string();
}

Status PeerLink::resume(std::unique_ptr<transport::ControlChannel> channel) {
    if (thread_) thread_->join();
    queue_.reopen();
    connection_.replace(std::move(channel));
    options_.sequence->interrupt();
    liveness_.resume_sending();
    liveness_.resume_expecting();
    return start_thread();
}

void PeerLink::drop() {
    current()->shutdown();
    // The thread does not wait for room.
    queue_.close();
    // The thread reads the end of the connection, or the peer's reason before it.
    if (thread_) thread_->join();
}

void PeerLink::leave() {
    liveness_.stop_sending();
    current()->finish_sending();
    // The peer ends the connection, too, or has sent its reason before.
    const std::stop_token stop = cancellation_.token();
    const Clock::time_point deadline = Clock::now() + kReasonGrace;
    while (!stop.stop_requested() && !lost() && Clock::now() < deadline) {
        queue_.take(std::chrono::ceil<milliseconds>(deadline - Clock::now()), stop);
    }
    drop();
}

Status PeerLink::run() {
    Status status = catching("main channel", [this] { return follow(); });
    if (!status && !cancellation_.stopped() && connection_.take_loss(status.error())) {
        queue_.close();
        return {};
    }
    // A sender that lost the channels of a failed receiver ends its direction only, and waits for
    // the reason (leave()).
    const bool failed_before = cancellation_.error().has_value();
    if (!status) {
        if (status.error().kind() == ErrorKind::kLostConnection) {
            if (!failed_before) peer_ended_ = true;
            // A data channel may have noticed the loss a moment earlier. Its error is reported
            // then, because it names the place.
            cancellation_.confirm_lost();
        }
        cancellation_.fail(std::move(status).error());
    }
    const std::optional<Error> error = cancellation_.error();
    if (error && !peer_ended_) send_failure(*error);
    // The session is complete: the peer must not take the end of the connection for a loss. A
    // sender still has a frame to send.
    const bool more = options_.party == transport::Party::kSender &&
                      acknowledges_.load(std::memory_order_acquire);
    if (!error && !more && done_passed_.load(std::memory_order_acquire)) {
        current()->finish_sending();
    }
    // A peer that has sent its last frame waits until this side closes the connection.
    if (peer_ended_) current()->shutdown();
    return {};
}

// Runs until the session is over, whether it succeeds or fails.
Status PeerLink::follow() {
    while (!finished_.load(std::memory_order_acquire) && !cancellation_.stopped()) {
        // While the queue is full of device state to be loaded, no frames are read. This side still
        // sends heartbeats meanwhile, but cannot tell whether the peer is alive.
        const bool room = await_room();
        Result<std::optional<Frame>> frame =
            room ? current()->receive(liveness_.until_heartbeat(current()->last_sent()))
                 : std::optional<Frame>();
        if (finished_.load(std::memory_order_acquire)) {
            // The peer's FAILURE may arrive while finish() is called.
            if (frame && *frame && ends_session((*frame)->type))
                MIGRATE_TRY(take(**std::move(frame)));
            break;
        }
        if (!frame) {
            if (done_passed_.load(std::memory_order_acquire)) return {};
            return std::move(frame).error();
        }
        if (*frame) {
            const FrameType type = (*frame)->type;
            const bool last = type == FrameType::kDone || type == FrameType::kDoneAck;
            if (last) done_passed_.store(true);
            MIGRATE_TRY(take(**std::move(frame)));
            // It is the peer's last frame.
            if (done_passed_.load(std::memory_order_acquire)) return {};
        }
        if (liveness_.heartbeat_is_due(current()->last_sent())) {
            MIGRATE_TRY(current()->send_if_idle(FrameType::kHeartbeat));
        }
        if (memory_reserve_spent()) {
            return Error("out of memory (check the limits ulimit -v and ulimit -d)");
        }
        // Unread bytes also show that the peer is alive: this thread may have been delayed.
        if (room && liveness_.is_silent(current()->last_heard()) && !current()->has_input()) {
            return make_error(ErrorKind::kTimeout,
                              "the peer has been silent for {} ms (io-timeout)",
                              options_.io_timeout.count());
        }
    }
    if (cancellation_.reason_is_open() && !done_passed_.load(std::memory_order_acquire)) {
        await_reason();
    }
    return {};
}

// True if a send that finds no room may keep waiting: after a stop it waits kFailureLinger more.
bool PeerLink::may_wait_for_room() const {
    const Clock::time_point stopped = stopped_at_.load(std::memory_order_acquire);
    return stopped == Clock::time_point{} || Clock::now() - stopped < kFailureLinger;
}

// Waits for room in the queue, at most until the next heartbeat is due. Returns false if the queue
// is still full of device state.
bool PeerLink::await_room() {
    if (queue_.has_room()) return true;
    const bool came =
        queue_.await_room(liveness_.until_heartbeat(current()->last_sent()), cancellation_.token());
    liveness_.not_reading();
    return came;
}

Status PeerLink::send(FrameType type, std::string_view body) {
    return send(type, std::as_bytes(std::span(body)), {});
}

Status PeerLink::send(FrameType type, std::span<const std::byte> first,
                      std::span<const std::byte> second) {
    if (const std::optional<Error> lost = connection_.lost()) return *lost;
    if (options_.sequence) MIGRATE_TRY(options_.sequence->pass(options_.party, type));
    if (type == FrameType::kDone && !acknowledges_.load(std::memory_order_acquire)) {
        done_passed_.store(true, std::memory_order_release);
    }
    Status sent = current()->send(type, first, second);
    if (sent || !connection_.survives()) return sent;
    // The thread knows when it has ended whether the session survives this or the peer gave a
    // reason.
    drop();
    if (const std::optional<Error> reason = reason_to_stop()) return *reason;
    return sent;
}

void PeerLink::acknowledge_done() {
    if (!acknowledges_.load(std::memory_order_acquire)) return;
    const Status told = send(FrameType::kDoneAck, "{}");
    if (!told) log::debug("the receiver does not know that DONE came: {}", told.error().message());
    current()->finish_sending();
}

Status PeerLink::take(Frame frame) {
    last_frame_.store(Clock::now(), std::memory_order_relaxed);
    if (frame.type == FrameType::kHeartbeat) return {};
    if (frame.type == options_.last_of_peer) stop_expecting_heartbeats();
    if (frame.type == FrameType::kRoundAgain) liveness_.resume_expecting();
    if (ends_session(frame.type)) {
        peer_ended_ = true;
        const transport::Failure failure = transport::decode_failure(frame.body);
        // A receiver that refuses may not know the session, and says nothing about its guest.
        if (failure.guest_runs && frame.type == FrameType::kFailure) {
            peer_guest_.store(*failure.guest_runs ? PeerGuest::kRuns : PeerGuest::kNeverRuns);
        }
        cancellation_.fail(
            frame.type == FrameType::kRefuse
                ? make_error(ErrorKind::kRefused, "the receiver refused: {}", failure.reason)
                : error_of_peer(failure));
        return {};
    }
    return queue_.put(std::move(frame));
}

// Called after the loss of a data channel that ends the session. Usually the peer failed, and its
// FAILURE is in transit: waits for it.
void PeerLink::await_reason() {
    const Clock::time_point deadline = Clock::now() + kReasonGrace;
    while (Clock::now() < deadline && cancellation_.reason_is_open()) {
        Result<std::optional<Frame>> frame =
            current()->receive(std::chrono::ceil<milliseconds>(deadline - Clock::now()));
        if (!frame) {
            peer_ended_ = true;
            break;
        }
        if (*frame && !take(**std::move(frame))) break;
    }
    cancellation_.confirm_lost();
}

void PeerLink::send_failure(const Error& error) {
    const std::optional<bool> runs =
        options_.guest_runs ? options_.guest_runs() : std::optional(false);
    const Status told = catching("main channel", [&] {
        const Outcome outcome = outcome_of(options_.settled ? options_.settled(error) : error);
        const std::string body = transport::encode(transport::Failure{
            outcome == Outcome::kCancelled, error.message(), runs, std::string(name_of(outcome))});
        return current()->send_last(FrameType::kFailure, body, kFailureLinger);
    });
    if (told) return;
    // There was no memory to encode the reason, or the send failed.
    const Status told_without_reason = catching("main channel", [&] {
        return current()->send_last(FrameType::kFailure, failure_without_memory(runs),
                                    kFailureLinger);
    });
    if (!told_without_reason) log::debug("the peer could not be told of the failure");
}

// After a wait for a frame that did not come: the reason why none will come; nothing if one may.
std::optional<Error> PeerLink::reason_to_stop() const {
    if (std::optional<Error> error = cancellation_.error()) return error;
    if (std::optional<Error> lost = connection_.lost()) return lost;
    // The link's thread still waits for the peer's reason (await_reason()).
    if (cancellation_.stopped()) {
        return Error(ErrorKind::kLostConnection, "the connection to the peer was lost");
    }
    return std::nullopt;
}

Result<Frame> PeerLink::expect(FrameSet types, std::optional<milliseconds> timeout) {
    const std::stop_token stop = cancellation_.token();
    std::optional<Frame> frame = queue_.take(timeout, stop);
    if (!frame) {
        if (const std::optional<Error> reason = reason_to_stop()) return *reason;
        return make_error(ErrorKind::kTimeout,
                          "the peer did not send {} within {} ms (handshake-timeout)",
                          name_of(types.first()), timeout->count());
    }
    MIGRATE_TRY(check(types, frame->type));
    return *std::move(frame);
}

Result<std::optional<Frame>> PeerLink::expect_within(FrameSet types, milliseconds timeout) {
    const std::stop_token stop = cancellation_.token();
    std::optional<Frame> frame = queue_.take(timeout, stop);
    if (!frame) {
        if (const std::optional<Error> reason = reason_to_stop()) return *reason;
        return std::optional<Frame>();
    }
    MIGRATE_TRY(check(types, frame->type));
    return frame;
}

Result<Frame> PeerLink::expect_while_heard(FrameSet types, milliseconds silence) {
    const Clock::time_point began = Clock::now();
    while (true) {
        const auto heard = std::max(began, last_frame_.load(std::memory_order_relaxed));
        const auto left = std::chrono::ceil<milliseconds>(heard + silence - Clock::now());
        MIGRATE_ASSIGN(std::optional<Frame> frame,
                       expect_within(types, std::max(left, milliseconds(0))));
        if (frame) return *std::move(frame);
        if (left.count() > 0) continue;
        return make_error(ErrorKind::kTimeout,
                          "the peer did not send {} and was silent for {} ms (handshake-timeout)",
                          name_of(types.first()), silence.count());
    }
}

Result<Frame> PeerLink::next() {
    return expect(options_.sequence->allowed(transport::other(options_.party)), std::nullopt);
}

Status PeerLink::check(FrameSet types, FrameType came) {
    if (options_.sequence) {
        MIGRATE_TRY(options_.sequence->pass(transport::other(options_.party), came));
    }
    if (types.has(came)) return {};
    return make_error(ErrorKind::kProtocol, "expected {}, got {}", types.names(), name_of(came));
}

}  // namespace migrate::engine
