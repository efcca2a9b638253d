// The waits of a live migration on the sending side, and what ends them: other parameters, the
// deadline, a stall that lasts too long. The stop of the session ends all of them.

#include <algorithm>

#include "engine/send/send_session.hpp"

namespace migrate::engine {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using transport::Frame;
using transport::FrameType;

namespace {

// Interval at which a wait for the receiver checks whether its data moves.
constexpr milliseconds kHeadwayInterval{1000};

Error no_longer() { return Error(ErrorKind::kCancelled, "cancelled"); }

}  // namespace

Tunables SendSession::tunables() const {
    const std::scoped_lock lock(mutex_);
    return tunables_;
}

// A change after this call ends the wait that may follow the decision.
Tunables SendSession::tunables_for_decision() {
    const std::scoped_lock lock(mutex_);
    if (std::exchange(changed_, false)) pacing_.reset();
    return tunables_;
}

void SendSession::change(const Tunables& tunables) {
    {
        const std::scoped_lock lock(mutex_);
        tunables_ = tunables;
        changed_ = true;
        // The last round is sent without a limit.
        if (!rate_lifted_) pacer_.set_rate(tunables.max_bandwidth);
        set_timer();
    }
    woken_.notify_all();
}

Status SendSession::continue_switchover() {
    const std::scoped_lock lock(mutex_);
    if (!awaits_continue_) return Error("the migration does not wait for migrate-continue");
    may_switch_over_ = true;
    continued_.notify_all();
    return {};
}

Status SendSession::await_next_round(const RoundFigures& figures, const Decision& decision) {
    const Clock::time_point began = Clock::now();
    const Microseconds wait = pacing_.wait_after(figures, decision);
    const bool digest_decides = decision.obstacle == Obstacle::kDigest;
    if (config_.negotiated.verify() && (wait.count() != 0 || digest_decides) &&
        digest_meter_.due(core_.active_time())) {
        MIGRATE_TRY(measure_digest(false));
        if (digest_decides && convergence_.fits(figures.dirty_pages, tunables(), fixed_costs())) {
            pacing_.reset();
            return live_->collect_again();
        }
    }
    if (wait.count() == 0) return {};
    say(fmt::format("before round {}", figures.round + 1));
    MIGRATE_TRY(wait_until(began + wait));
    // The guest kept writing during the wait.
    return live_->collect_again();
}

Status SendSession::wait_until(Clock::time_point moment) {
    std::unique_lock lock(mutex_);
    // With on-deadline=switch the deadline takes effect at the end of a round, so that round has to
    // begin by then.
    if (tunables_.deadline.count() != 0 && tunables_.on_deadline == OnDeadline::kSwitch) {
        moment = std::min(moment, active_since() + tunables_.deadline);
    }
    woken_.wait_until(lock, core_.token(), moment, [this] { return changed_; });
    return core_.stopped() ? Status(no_longer()) : Status();
}

// Waits for a frame of one of these types. Fails if for stall-limit no frame comes from a receiver
// that is alive and no data in transit to it moves.
Result<Frame> SendSession::expect_from_receiver(std::initializer_list<FrameType> types) {
    Clock::time_point moved = Clock::now();
    std::uint64_t under_way = bytes_under_way();
    while (true) {
        MIGRATE_ASSIGN(std::optional<Frame> frame, link_->expect_within(types, kHeadwayInterval));
        if (frame) return *std::move(frame);
        const std::uint64_t left = bytes_under_way();
        if (std::exchange(under_way, left) != left) moved = Clock::now();
        const Microseconds limit = tunables().stall_limit;
        if (limit.count() == 0 || Clock::now() - moved < limit) continue;
        return make_error(ErrorKind::kNotConverged,
                          "the receiver lives but has not sent {} for {} ms (stall-limit)",
                          name_of(*types.begin()), limit.count() / 1000);
    }
}

std::uint64_t SendSession::bytes_under_way() const {
    std::uint64_t bytes = 0;
    for (const auto& channel : channels_) bytes += channel->bytes_under_way();
    return bytes;
}

void SendSession::say(std::string doing) {
    const std::scoped_lock lock(mutex_);
    doing_ = std::move(doing);
}

Status SendSession::start_timer() {
    auto timer = std::make_unique<GiveUpTimer>(
        core_.cancellation(), [this](GiveUpTimer::Reason reason) { give_up(reason); });
    MIGRATE_TRY(timer->start(core_.times()));
    const std::scoped_lock lock(mutex_);
    timer_ = std::move(timer);
    set_timer();
    return {};
}

void SendSession::stop_timer() {
    std::unique_ptr<GiveUpTimer> timer;
    {
        const std::scoped_lock lock(mutex_);
        timer = std::move(timer_);
    }
    // The timer ends here, after the mutex was released: its thread may wait for the mutex.
}

// Called with mutex_ held.
void SendSession::set_timer() {
    if (!timer_) return;
    const bool cancels =
        tunables_.deadline.count() != 0 && tunables_.on_deadline == OnDeadline::kCancel;
    const bool ends_stall = out_of_rungs_at_ && tunables_.stall_limit.count() != 0;
    using Moment = std::optional<Clock::time_point>;
    timer_->set(GiveUpTimer::Reason::kDeadline,
                cancels ? Moment(active_since() + tunables_.deadline) : std::nullopt);
    timer_->set(GiveUpTimer::Reason::kStallLimit,
                ends_stall ? Moment(active_since() + *out_of_rungs_at_ + tunables_.stall_limit)
                           : std::nullopt);
}

Clock::time_point SendSession::active_since() const { return Clock::now() - core_.active_time(); }

// Called on the timer's thread.
void SendSession::give_up(GiveUpTimer::Reason reason) {
    // Holds the mutex, as cancel() does.
    const std::scoped_lock lock(mutex_);
    if (live_->handed_over()) return;
    const std::string why = rounds_.empty()        ? ": no round has ended yet"
                            : last_reason_.empty() ? ""
                                                   : ": " + last_reason_;
    core_.cancellation().fail(
        reason == GiveUpTimer::Reason::kDeadline
            ? make_error(ErrorKind::kNotConverged, "the deadline of {} ms has passed {}{}",
                         tunables_.deadline.count() / 1000, doing_, why)
            : make_error(ErrorKind::kNotConverged,
                         "the migration does not converge and has no means left for {} ms "
                         "(stall-limit), {}{}",
                         tunables_.stall_limit.count() / 1000, doing_, why));
}

}  // namespace migrate::engine
