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
    return error ? Status(*error) : Status();
}

void SessionCore::conclude(const Status& status) {
    {
        const std::scoped_lock lock(mutex_);
        ended_ = Clock::now();
        if (!status) error_desc_ = status.error().message();
    }
    if (status) {
        set_status(MigrationStatus::kCompleted);
    } else if (status.error().kind() == ErrorKind::kCancelled) {
        set_status(MigrationStatus::kCancelling);
        set_status(MigrationStatus::kCancelled);
    } else {
        set_status(MigrationStatus::kFailed);
    }
}

void SessionCore::fill(Report& report) const {
    const std::scoped_lock lock(mutex_);
    report.status = status_.get();
    report.error_desc = error_desc_;
    fill_times(report, {started_, active_, ended_});
    report.threads = times_.all();
}

}  // namespace migrate::engine
