#include "engine/peer_link.hpp"

#include <algorithm>

#include "base/catching.hpp"
#include "base/log.hpp"
#include "base/memory_reserve.hpp"
#include "base/outcome.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using transport::Frame;
using transport::FrameType;

// kReasonGrace: after a channel broke, the time for the peer's reason to arrive. kGoodbyeLinger:
// the time for the peer to read our last frame.
constexpr milliseconds kReasonGrace{1000};
constexpr milliseconds kGoodbyeLinger{1000};
// Interval at which a send that finds no room checks whether the session still lives.
constexpr milliseconds kRoomInterval{100};
// FAILURE bodies for the case that there is no memory to encode the reason.
constexpr std::string_view kPlainFailure =
    R"({"cancelled":false,"reason":"out of memory","guest-runs":true})";
constexpr std::string_view kPlainDisclaimer =
    R"({"cancelled":false,"reason":"out of memory","guest-runs":false})";
// No exchange has this many unanswered frames: more are a flood.
constexpr std::size_t kMaxQueuedFrames = 16;

// The outcome that the peer reports also decides this side's exit code. An unknown outcome, or one
// that no peer can decide, is a failure. Programs that send no outcome at least say whether a user
// cancelled.
Error from_peer(const transport::Failure& failure) {
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

// True for frames of state: the peer may send any number of them, as fast as this side takes them.
bool is_state(FrameType type) {
    return type == FrameType::kDeviceState || type == FrameType::kGuestState;
}

}  // namespace

PeerLink::PeerLink(std::unique_ptr<transport::ControlChannel> channel, Options options,
                   Cancellation& cancellation)
    : channel_(std::move(channel)),
      options_(std::move(options)),
      cancellation_(cancellation),
      interval_(make_link_times(options_.io_timeout, std::nullopt).heartbeat),
      on_stop_(cancellation.token(), [this] {
          stopped_at_.store(Clock::now(), std::memory_order_release);
          channel_->wake();
      }) {
    cancellation.on_lost_connection([this] { channel_->wake(); });
}

Result<std::unique_ptr<PeerLink>> PeerLink::create(
    std::unique_ptr<transport::ControlChannel> channel, Options options, ThreadTimes& times,
    Cancellation& cancellation) {
    // An earlier sender's offer may have used up the last reserve.
    keep_memory_reserve();
    std::unique_ptr<PeerLink> link(
        new PeerLink(std::move(channel), std::move(options), cancellation));
    // A receiver that is busy loading state may read nothing for a while. A send to it waits as
    // long as this session lives; a silent peer ends the session.
    MIGRATE_TRY(link->channel_->wait_for_room_while(
        [link = link.get()] { return link->may_wait_for_room(); },
        std::min(link->options_.io_timeout, kRoomInterval)));
    auto thread = SessionThread::start(link->options_.name, times, cancellation,
                                       [link = link.get()] { return link->run(); });
    if (!thread) {
        link->say_goodbye(thread.error());
        return std::move(thread).error();
    }
    link->thread_ = *std::move(thread);
    return link;
}

PeerLink::~PeerLink() {
    cancellation_.on_lost_connection(nullptr);
    finish();
}

void PeerLink::finish() {
    finished_.store(true, std::memory_order_release);
    channel_->wake();
    if (thread_) thread_->join();
}

void PeerLink::agree(const LinkTimes& times) {
    interval_.store(times.heartbeat);
    judged_from_.store(Clock::now());
    judges_.store(true, std::memory_order_release);
    // The link's thread may still be in a wait of the old interval.
    channel_->wake();
}

Status PeerLink::run() {
    Status status = catching("main channel", [this] { return follow(); });
    if (!status) {
        if (status.error().kind() == ErrorKind::kLostConnection) {
            peer_gave_up_ = true;
            // A data channel may have noticed the same a moment earlier, and its error says where.
            cancellation_.confirm_lost();
        }
        cancellation_.fail(std::move(status).error());
    }
    const std::optional<Error> error = cancellation_.error();
    if (error && !peer_gave_up_) say_goodbye(*error);
    // A peer that has sent its last frame waits until this side closes the connection.
    if (peer_gave_up_) channel_->shutdown();
    return {};
}

// Runs until the session is over, whether it succeeds or fails.
Status PeerLink::follow() {
    while (!finished_.load(std::memory_order_acquire) && !cancellation_.stopped()) {
        // While the queue is full of state to be loaded, further frames stay unread. Meanwhile this
        // side still sends heartbeats, but cannot tell whether the peer is alive.
        const bool room = await_room();
        Result<std::optional<Frame>> frame =
            room ? channel_->receive(until_heartbeat()) : std::optional<Frame>();
        if (finished_.load(std::memory_order_acquire)) break;
        if (!frame) {
            if (done_passed_.load(std::memory_order_acquire)) return {};
            return std::move(frame).error();
        }
        if (*frame) {
            if ((*frame)->type == FrameType::kDone) done_passed_.store(true);
            MIGRATE_TRY(take(**std::move(frame)));
            // DONE is the receiver's last frame.
            if (done_passed_.load(std::memory_order_acquire)) return {};
        }
        if (sends_heartbeats_.load(std::memory_order_relaxed) &&
            Clock::now() - channel_->last_sent() >= interval_.load()) {
            MIGRATE_TRY(channel_->send_if_idle(FrameType::kHeartbeat));
        }
        if (memory_reserve_spent()) {
            return Error("out of memory (check the limits ulimit -v and ulimit -d)");
        }
        if (room && peer_is_silent()) {
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

milliseconds PeerLink::until_heartbeat() const {
    const milliseconds interval = interval_.load();
    const auto due =
        std::chrono::ceil<milliseconds>(channel_->last_sent() + interval - Clock::now());
    // An overdue heartbeat found no room, or heartbeats are no longer sent.
    return due.count() > 0 ? std::min(due, interval) : interval;
}

bool PeerLink::peer_is_silent() const {
    if (!judges_.load(std::memory_order_acquire) ||
        !expects_heartbeats_.load(std::memory_order_relaxed)) {
        return false;
    }
    const auto heard = std::max({channel_->last_heard(), last_full_, judged_from_.load()});
    // Unread bytes also show that the peer is alive: this thread may have been delayed.
    return Clock::now() - heard > options_.io_timeout && !channel_->has_input();
}

// True if a send that finds no room may keep waiting: after a stop it waits kGoodbyeLinger more.
bool PeerLink::may_wait_for_room() const {
    const Clock::time_point stopped = stopped_at_.load(std::memory_order_acquire);
    return stopped == Clock::time_point{} || Clock::now() - stopped < kGoodbyeLinger;
}

// Waits until the next heartbeat is due at most. Returns false if the queue is still full of frames
// of state.
bool PeerLink::await_room() {
    std::unique_lock lock(mutex_);
    const auto room = [this] { return state_frames_ < kMaxQueuedFrames; };
    if (room()) return true;
    const bool came = taken_.wait_for(lock, cancellation_.token(), until_heartbeat(), room);
    last_full_ = Clock::now();
    return came;
}

Status PeerLink::send(FrameType type, std::string_view body) {
    if (type == FrameType::kDone) done_passed_.store(true, std::memory_order_release);
    return channel_->send(type, body);
}

Status PeerLink::take(Frame frame) {
    last_frame_.store(Clock::now(), std::memory_order_relaxed);
    if (frame.type == FrameType::kHeartbeat) return {};
    if (frame.type == options_.last_of_peer) stop_expecting_heartbeats();
    if (frame.type == FrameType::kFailure || frame.type == FrameType::kRefuse) {
        peer_gave_up_ = true;
        const transport::Failure failure = transport::decode_failure(frame.body);
        {
            const std::scoped_lock lock(mutex_);
            peer_runs_guest_ = failure.guest_runs;
        }
        cancellation_.fail(
            frame.type == FrameType::kRefuse
                ? make_error(ErrorKind::kRefused, "the receiver refused: {}", failure.reason)
                : from_peer(failure));
        return {};
    }
    {
        const std::scoped_lock lock(mutex_);
        const bool of_state = is_state(frame.type);
        if (!of_state && frames_.size() - state_frames_ >= kMaxQueuedFrames) {
            return Error(ErrorKind::kProtocol, "more control frames than the protocol has use for");
        }
        if (of_state) ++state_frames_;
        frames_.push_back(std::move(frame));
    }
    arrived_.notify_all();
    return {};
}

// A data channel broke. The peer usually has a reason, which is in transit: waits for it.
void PeerLink::await_reason() {
    const Clock::time_point deadline = Clock::now() + kReasonGrace;
    while (Clock::now() < deadline && cancellation_.reason_is_open()) {
        Result<std::optional<Frame>> frame =
            channel_->receive(std::chrono::ceil<milliseconds>(deadline - Clock::now()));
        if (!frame) {
            peer_gave_up_ = true;
            break;
        }
        if (*frame && !take(**std::move(frame))) break;
    }
    cancellation_.confirm_lost();
}

void PeerLink::say_goodbye(const Error& error) {
    const std::optional<bool> runs =
        options_.guest_runs ? options_.guest_runs() : std::optional(false);
    const Status told = catching("main channel", [&] {
        const Outcome outcome = outcome_of(options_.settled ? options_.settled(error) : error);
        const std::string body = transport::encode(transport::Failure{
            outcome == Outcome::kCancelled, error.message(), runs, std::string(name_of(outcome))});
        return channel_->send_last(FrameType::kFailure, body, kGoodbyeLinger);
    });
    if (told) return;
    // There was no memory to encode the reason, or it could not be sent.
    const Status dying = catching("main channel", [&] {
        return channel_->send_last(
            FrameType::kFailure, runs == false ? kPlainDisclaimer : kPlainFailure, kGoodbyeLinger);
    });
    if (!dying) log::debug("the peer could not be told of the failure");
}

std::optional<bool> PeerLink::peer_runs_guest() const {
    const std::scoped_lock lock(mutex_);
    return peer_runs_guest_;
}

Result<Frame> PeerLink::expect(std::initializer_list<FrameType> types,
                               std::optional<milliseconds> timeout) {
    std::unique_lock lock(mutex_);
    const auto ready = [&] { return !frames_.empty(); };
    const std::stop_token stop = cancellation_.token();
    const bool came =
        timeout ? arrived_.wait_for(lock, stop, *timeout, ready) : arrived_.wait(lock, stop, ready);
    if (!came) {
        if (const std::optional<Error> error = cancellation_.error()) return *error;
        if (stop.stop_requested()) return Error(ErrorKind::kLostConnection, "the peer was lost");
        return make_error(ErrorKind::kTimeout,
                          "the peer did not send {} within {} ms (handshake-timeout)",
                          name_of(*types.begin()), timeout->count());
    }
    return take_queued(types);
}

Result<std::optional<Frame>> PeerLink::expect_within(std::initializer_list<FrameType> types,
                                                     milliseconds timeout) {
    std::unique_lock lock(mutex_);
    const std::stop_token stop = cancellation_.token();
    if (!arrived_.wait_for(lock, stop, timeout, [&] { return !frames_.empty(); })) {
        if (const std::optional<Error> error = cancellation_.error()) return *error;
        // Its reason is still searched for.
        if (stop.stop_requested()) return Error(ErrorKind::kLostConnection, "the peer was lost");
        return std::optional<Frame>();
    }
    MIGRATE_ASSIGN(Frame frame, take_queued(types));
    return std::optional<Frame>(std::move(frame));
}

Result<Frame> PeerLink::expect_while_heard(std::initializer_list<FrameType> types,
                                           milliseconds silence) {
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
                          name_of(*types.begin()), silence.count());
    }
}

Result<Frame> PeerLink::take_queued(std::initializer_list<FrameType> types) {
    Frame frame = std::move(frames_.front());
    frames_.pop_front();
    if (is_state(frame.type)) --state_frames_;
    taken_.notify_all();
    if (std::find(types.begin(), types.end(), frame.type) == types.end()) {
        return make_error(ErrorKind::kProtocol, "the peer sent {} where {} had to come",
                          name_of(frame.type), name_of(*types.begin()));
    }
    return frame;
}

}  // namespace migrate::engine
