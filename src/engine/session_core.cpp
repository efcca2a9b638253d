// SPDX-License-Identifier: Apache-2.0
#include "engine/session_core.hpp"

#include <span>

#include "base/catching.hpp"
#include "base/log.hpp"
#include "base/memory_reserve.hpp"
#include "engine/presence.hpp"
#include "engine/report/session_report.hpp"

namespace migrate::engine {

using Clock = std::chrono::steady_clock;

namespace {

// Half of the id: who knows all of it could take part in a session over plaintext.
constexpr std::size_t kShownSessionBytes = 8;

}  // namespace

void SessionCore::set_status(MigrationStatus status) {
    status_.advance(status);
    log::debug("state: {}", name_of(status));
    // A failed event does not change the session's result.
    const Status told = catching("event MIGRATION", [&]() -> Status {
        events_.emit("MIGRATION", {{"status", std::string(name_of(status))}});
        return {};
    });
    if (!told) log::warning("{}", told.error().message());
}

Status SessionCore::run(const std::function<Status()>& migrate,
                        const std::function<Status(Status)>& settle,
                        const std::function<GuestOwner()>& owner) noexcept {
    keep_memory_reserve();
    Presence presence(cancellation_);
    Status status = catching("the migration", [&]() -> Status {
        set_status(MigrationStatus::kSetup);
        // The threads of the session inherit this.
        const OnCpus placed(cpu_.cpus);
        return migrate();
    });
    budget_.lift();
    bool returned = false;
    Status settled;
    for (int turn = 0; turn < 2 && !returned; ++turn) {
        settled = catching("the end of the migration", [&] {
            Status outcome = settle(std::move(status));
            returned = true;
            return outcome;
        });
    }
    presence.settled();
    conclude(settled, owner());
    return settled;
}

void SessionCore::agreed(const transport::SessionId& session) {
    const std::string id = transport::to_hex(std::span(session).first<kShownSessionBytes>());
    figures_.lock()->session_id = id;
    events_.emit("MIGRATION_SESSION", {{"session-id", id}});
}

void SessionCore::start_clock() {
    const auto figures = figures_.lock();
    figures->started = Clock::now();
    figures->started_at = std::chrono::system_clock::now();
}

void SessionCore::stop_clock() {
    const auto figures = figures_.lock();
    if (figures->ended != Clock::time_point{}) return;
    figures->ended = Clock::now();
    figures->ended_at = std::chrono::system_clock::now();
}

void SessionCore::activate() {
    figures_.lock()->active = Clock::now();
    set_status(MigrationStatus::kActive);
    budget_.begin();
}

std::chrono::microseconds SessionCore::active_time() const {
    const Clock::time_point active = figures_.lock()->active;
    if (active == Clock::time_point{}) return {};
    return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - active);
}

Status SessionCore::outcome() const {
    const std::optional<Error> error = cancellation_.error();
    return error ? Status(settled(*error)) : Status();
}

void SessionCore::conclude(const Status& status, GuestOwner owner) noexcept {
    const Outcome outcome = outcome_of(status);
    stop_clock();
    {
        const auto figures = figures_.lock();
        figures->outcome = outcome;
        try {
            if (!status) figures->error_desc = status.error().message();
        } catch (...) {
            figures->error_desc = "out of memory";  // short enough to need no heap memory
        }
    }
    const MigrationStatus last = final_status_of(outcome);
    if (last == MigrationStatus::kCancelled) set_status(MigrationStatus::kCancelling);
    status_.advance(last);
    const Status told = catching("event MIGRATION", [&]() -> Status {
        emit_end(events_, status, owner);
        return {};
    });
    if (!told) log::warning("{}", told.error().message());
}

void SessionCore::fill(Report& report, const SessionFigures& figures) const {
    report.status = status_.get();
    report.error_desc = figures.error_desc;
    report.outcome = figures.outcome;
    report.session_id = figures.session_id;
    report.began = figures.started_at;
    report.ended = figures.ended_at;
    fill_times(report, figures);
    report.threads = times_.all();
    report.cpu = {.affinity = cpu_.affinity,
                  .budget_percent = cpu_.budget_percent,
                  .host_cpus = host_cpus(),
                  .use = budget_.figures()};
}

void SessionCore::fill_progress(Report& report, const SessionFigures& figures) const {
    if (figures.active == Clock::time_point{} || figures.ended != Clock::time_point{}) return;
    report.progress =
        progress_of(report, progress_.note(figures.active, Clock::now(), report.transferred,
                                           report.pages.total() + report.reuse.pages));
}

}  // namespace migrate::engine
