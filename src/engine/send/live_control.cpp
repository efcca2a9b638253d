// SPDX-License-Identifier: Apache-2.0
#include "engine/send/live_control.hpp"

#include <algorithm>
#include <utility>

namespace migrate::engine {
namespace {

Status stopped_or(const SessionCore& core) {
    return core.stopped() ? Status(Error(ErrorKind::kCancelled, "cancelled")) : Status();
}

}  // namespace

void LiveControl::change(const Tunables& tunables) {
    {
        const MutexLock lock(mutex_);
        published_.lock()->tunables = tunables;
        changed_ = true;
        if (!rate_lifted_) pacer_.set_rate(tunables.max_bandwidth);
        set_timer();
    }
    woken_.notify_all();
}

void LiveControl::start_postcopy() {
    {
        const MutexLock lock(mutex_);
        postcopy_asked_ = true;
        changed_ = true;
    }
    woken_.notify_all();
}

LiveControl::Current LiveControl::take_tunables() {
    const MutexLock lock(mutex_);
    return {tunables(), std::exchange(changed_, false)};
}

Status LiveControl::continue_switchover() {
    const MutexLock lock(continuation_.mutex);
    if (!continuation_.awaited) return Error("the migration does not wait for migrate-continue");
    continuation_.may_switch_over = true;
    continuation_.came.notify_all();
    return {};
}

Status LiveControl::await_continue() {
    say("while the migration waited for migrate-continue");
    {
        // Set before the status changes: a client that sees the status may answer at once.
        const MutexLock lock(continuation_.mutex);
        continuation_.awaited = true;
    }
    core_.set_status(MigrationStatus::kPreSwitchover);
    MutexLock lock(continuation_.mutex);
    const bool came =
        continuation_.came.wait(lock, core_.token(), [this]() REQUIRES(continuation_.mutex) {
            return continuation_.may_switch_over || continuation_.interrupted;
        });
    continuation_.awaited = false;
    if (!came) return Error(ErrorKind::kCancelled, "cancelled");
    if (!continuation_.interrupted) return {};
    return Error(ErrorKind::kLostConnection, "the main channel was lost");
}

void LiveControl::interrupt() {
    {
        const MutexLock lock(continuation_.mutex);
        continuation_.interrupted = true;
    }
    continuation_.came.notify_all();
}

Status LiveControl::wait_until(Clock::time_point moment) {
    MutexLock lock(mutex_);
    // With on-deadline=switch the deadline takes effect at the end of a round, so that round has to
    // begin by then.
    const Tunables now = tunables();
    if (now.deadline.count() != 0 && now.on_deadline == OnDeadline::kSwitch) {
        moment = std::min(moment, active_since() + now.deadline);
    }
    woken_.wait_until(lock, core_.token(), moment, [this]() REQUIRES(mutex_) { return changed_; });
    return stopped_or(core_);
}

void LiveControl::lift_rate() {
    const MutexLock lock(mutex_);
    rate_lifted_ = true;
    pacer_.set_rate(0);
}

void LiveControl::return_to_precopy() {
    {
        const MutexLock lock(continuation_.mutex);
        continuation_.may_switch_over = false;
    }
    const MutexLock lock(mutex_);
    rate_lifted_ = false;
    pacer_.set_rate(tunables().max_bandwidth);
}

void LiveControl::say(std::string doing) {
    const MutexLock lock(mutex_);
    doing_ = std::move(doing);
}

void LiveControl::note(const Decision& decision) {
    const MutexLock lock(mutex_);
    last_reason_ = decision.reason;
    stall_.exhausted_at =
        decision.action == Action::kNextRound ? decision.exhausted_at : std::nullopt;
    set_timer();
}

void LiveControl::begin_outage() {
    const MutexLock lock(mutex_);
    stall_.in_outage = true;
    set_timer();
}

void LiveControl::end_outage(Microseconds lasted) {
    {
        const MutexLock lock(continuation_.mutex);
        continuation_.interrupted = false;
    }
    const MutexLock lock(mutex_);
    stall_.in_outage = false;
    stall_.outages += lasted;
    set_timer();
}

Status LiveControl::start_timer() {
    auto timer = std::make_unique<LimitTimer>(
        core_.cancellation(), [this](LimitTimer::Limit limit) { on_expiry(limit); });
    MIGRATE_TRY(timer->start(core_.times()));
    const MutexLock lock(mutex_);
    timer_ = std::move(timer);
    set_timer();
    return {};
}

void LiveControl::stop_timer() {
    std::unique_ptr<LimitTimer> timer;
    {
        const MutexLock lock(mutex_);
        timer = std::move(timer_);
    }
    // The timer ends here, after the mutex was released: its thread may wait for the mutex.
}

void LiveControl::set_timer() {
    if (!timer_) return;
    const Tunables now = tunables();
    const bool cancels = now.deadline.count() != 0 && now.on_deadline == OnDeadline::kCancel;
    const bool switches = now.deadline.count() != 0 && now.on_deadline == OnDeadline::kSwitch;
    const bool ends_stall =
        stall_.exhausted_at && now.stall_limit.count() != 0 && !stall_.in_outage;
    using Moment = std::optional<Clock::time_point>;
    timer_->set(LimitTimer::Limit::kDeadline,
                cancels ? Moment(active_since() + now.deadline) : std::nullopt);
    timer_->set(LimitTimer::Limit::kSwitchOver,
                switches ? Moment(active_since() + now.deadline) : std::nullopt);
    timer_->set(LimitTimer::Limit::kStallLimit, ends_stall
                                                    ? Moment(active_since() + stall_.outages +
                                                             *stall_.exhausted_at + now.stall_limit)
                                                    : std::nullopt);
}

// Called on the timer's thread.
void LiveControl::on_expiry(LimitTimer::Limit limit) {
    if (limit == LimitTimer::Limit::kSwitchOver) {
        core_.budget().lift();
        return;
    }
    custody_.cancel(reason_to_end(limit));
}

Error LiveControl::reason_to_end(LimitTimer::Limit limit) const {
    const MutexLock lock(mutex_);
    const Tunables now = tunables();
    const std::string why = !last_reason_           ? ": no round has ended yet"
                            : last_reason_->empty() ? ""
                                                    : ": " + *last_reason_;
    if (limit == LimitTimer::Limit::kDeadline) {
        return make_error(ErrorKind::kNotConverged, "the deadline of {} ms has passed {}{}",
                          now.deadline.count() / 1000, doing_, why);
    }
    return make_error(ErrorKind::kNotConverged,
                      "the migration does not converge and has no means left for {} ms "
                      "(stall-limit), {}{}",
                      now.stall_limit.count() / 1000, doing_, why);
}

}  // namespace migrate::engine
