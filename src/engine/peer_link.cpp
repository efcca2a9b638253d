#include "engine/peer_link.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using transport::Frame;
using transport::FrameType;

// How long after a channel broke the peer's reason for it may take to arrive, and how long our own
// last frame may take to be read.
constexpr milliseconds kReasonGrace{1000};
constexpr milliseconds kGoodbyeLinger{1000};
// More unanswered frames than any exchange has is a flood.
constexpr std::size_t kMaxQueuedFrames = 16;

Error from_peer(const transport::Failure& failure) {
    if (failure.cancelled) {
        return make_error(ErrorKind::kCancelled, "cancelled by the peer: {}", failure.reason);
    }
    return make_error(ErrorKind::kPeer, "the peer failed: {}", failure.reason);
}

// As much of it as there is comes as fast as it is taken.
bool is_state(FrameType type) {
    return type == FrameType::kDeviceState || type == FrameType::kGuestState;
}

}  // namespace

PeerLink::PeerLink(std::unique_ptr<transport::ControlChannel> channel, milliseconds io_timeout,
                   std::string name, ThreadTimes& times, Cancellation& cancellation,
                   std::function<std::optional<bool>()> guest_runs)
    : channel_(std::move(channel)),
      io_timeout_(io_timeout),
      interval_(std::clamp(io_timeout / 4, milliseconds(10), milliseconds(1000))),
      cancellation_(cancellation),
      guest_runs_(std::move(guest_runs)),
      on_stop_(cancellation.token(), [this] { channel_->wake(); }) {
    cancellation.on_lost_connection([this] { channel_->wake(); });
    thread_.emplace(std::move(name), times, cancellation, [this] { return run(); });
}

PeerLink::~PeerLink() {
    cancellation_.on_lost_connection(nullptr);
    finish();
}

void PeerLink::finish() {
    finished_.store(true, std::memory_order_release);
    channel_->wake();
    thread_->join();
}

Status PeerLink::run() {
    Status status = follow();
    if (!status) {
        if (status.error().kind() == ErrorKind::kLostConnection) {
            peer_gave_up_ = true;
            // A data channel may have seen the same a moment earlier, and knows where.
            cancellation_.confirm_lost();
        }
        cancellation_.fail(std::move(status).error());
    }
    say_goodbye();
    // A peer that has said its last waits for our end of the connection.
    if (peer_gave_up_) channel_->shutdown();
    return {};
}

// Until the session is over, one way or the other.
Status PeerLink::follow() {
    while (!finished_.load(std::memory_order_acquire) && !cancellation_.stopped()) {
        // State that takes its time to be loaded leaves the rest of it on the way; meanwhile this
        // side still says that it lives, and cannot tell whether the peer does.
        const bool room = await_room();
        Result<std::optional<Frame>> frame =
            room ? channel_->receive(interval_) : std::optional<Frame>();
        if (finished_.load(std::memory_order_acquire)) break;
        if (!frame) {
            if (done_passed_.load(std::memory_order_acquire)) return {};
            return std::move(frame).error();
        }
        if (*frame) {
            if ((*frame)->type == FrameType::kDone) done_passed_.store(true);
            MIGRATE_TRY(take(**std::move(frame)));
            // The receiver's last frame.
            if (done_passed_.load(std::memory_order_acquire)) return {};
        }
        const auto now = Clock::now();
        if (sends_heartbeats_.load(std::memory_order_relaxed) &&
            now - channel_->last_sent() >= interval_) {
            MIGRATE_TRY(channel_->send(FrameType::kHeartbeat, ""));
        }
        if (expects_heartbeats_.load(std::memory_order_relaxed) && room &&
            now - std::max(channel_->last_heard(), last_full_) > io_timeout_) {
            return make_error(ErrorKind::kTimeout,
                              "the peer has been silent for {} ms (io-timeout)",
                              io_timeout_.count());
        }
    }
    if (cancellation_.reason_is_open() && !done_passed_.load(std::memory_order_acquire)) {
        await_reason();
    }
    return {};
}

// Waits for as long as a heartbeat may take; false if the queue is still full of frames of state.
bool PeerLink::await_room() {
    std::unique_lock lock(mutex_);
    const auto room = [this] { return state_frames_ < kMaxQueuedFrames; };
    if (room()) return true;
    const bool came = taken_.wait_for(lock, cancellation_.token(), interval_, room);
    last_full_ = Clock::now();
    return came;
}

Status PeerLink::send(FrameType type, std::string_view body) {
    if (type == FrameType::kDone) done_passed_.store(true, std::memory_order_release);
    return channel_->send(type, body);
}

Status PeerLink::take(Frame frame) {
    if (frame.type == FrameType::kHeartbeat) return {};
    if (frame.type == FrameType::kFailure || frame.type == FrameType::kRefuse) {
        peer_gave_up_ = true;
        const transport::Failure failure = transport::decode_failure(frame.body);
        {
            const std::scoped_lock lock(mutex_);
            peer_runs_guest_ = failure.guest_runs;
        }
        cancellation_.fail(
            frame.type == FrameType::kRefuse
                ? make_error(ErrorKind::kPeer, "the receiver refused: {}", failure.reason)
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

// A data channel broke. Usually the peer has a reason, which is on its way.
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

void PeerLink::say_goodbye() {
    const std::optional<Error> error = cancellation_.error();
    if (!error || peer_gave_up_) return;
    const transport::Failure failure{error->kind() == ErrorKind::kCancelled, error->message(),
                                     guest_runs_ ? guest_runs_() : false};
    if (!channel_->send_last(FrameType::kFailure, transport::encode(failure), kGoodbyeLinger)) {
        log::debug("the peer could not be told of the failure");
    }
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
