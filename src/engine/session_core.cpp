#include "engine/session_core.hpp"

#include "engine/session_report.hpp"

namespace migrate::engine {

using Clock = std::chrono::steady_clock;

void SessionCore::set_status(MigrationStatus status) {
    status_.advance(status);
    events_.emit("MIGRATION", {{"status", std::string(name_of(status))}});
}

void SessionCore::start_clock() {
    const std::scoped_lock lock(mutex_);
    started_ = Clock::now();
}

void SessionCore::activate() {
    {
        const std::scoped_lock lock(mutex_);
        active_ = Clock::now();
    }
    set_status(MigrationStatus::kActive);
}

std::chrono::microseconds SessionCore::active_time() const {
    const std::scoped_lock lock(mutex_);
    if (active_ == Clock::time_point{}) return {};
    return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - active_);
}

Status SessionCore::outcome() const {
    const std::optional<Error> error = cancellation_.error();
    return error ? Status(settled(*error)) : Status();
}

void SessionCore::conclude(const Status& status, GuestOwner owner) {
    const Outcome outcome = outcome_of(status);
    {
        const std::scoped_lock lock(mutex_);
        ended_ = Clock::now();
        outcome_ = outcome;
        if (!status) error_desc_ = status.error().message();
    }
    const MigrationStatus last = final_status_of(outcome);
    if (last == MigrationStatus::kCancelled) set_status(MigrationStatus::kCancelling);
    status_.advance(last);
    emit_end(events_, status, owner);
}

void SessionCore::fill(Report& report) const {
    const std::scoped_lock lock(mutex_);
    report.status = status_.get();
    report.error_desc = error_desc_;
    report.outcome = outcome_;
    fill_times(report, {started_, active_, ended_});
    report.threads = times_.all();
}

}  // namespace migrate::engine
