// SPDX-License-Identifier: Apache-2.0
// The functions of migrate/migrate.h: each turns an Error into a result, and no exception leaves
// any of them.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/catching.hpp"
#include "base/log.hpp"
#include "base/mutex.hpp"
#include "base/outcome.hpp"
#include "base/version.hpp"
#include "lib/c_structs.hpp"
#include "lib/callback_guest.hpp"
#include "lib/migrate/migrate.h"
#include "lib/migration.hpp"

struct migrate_session {
    explicit migrate_session(migrate::Side side) : migration(side) {}

    migrate::lib::Migration migration;
};

namespace migrate::lib {
namespace {

// The text that a function returned to this thread; empty after a call without an error.
struct LastText {
    static constexpr std::size_t kBytes = 2048;
    const void* session = nullptr;
    char text[kBytes] = {};

    // Keeps as much of it as there is room for, without half a character at the end.
    const char* keep(const void* of, std::string_view content) {
        std::size_t size = std::min(content.size(), kBytes - 1);
        while (size < content.size() && size > 0 && (content[size] & 0xC0) == 0x80) --size;
        session = of;
        std::memcpy(text, content.data(), size);
        text[size] = '\0';
        return text;
    }
};
thread_local LastText last_error;
thread_local LastText last_address;

int code_of(const Status& status) { return exit_code_of(outcome_of(status)); }

// Calls work(), which returns a Status, for a session; keeps its error for migrate_error().
template <typename Work>
int attempt(migrate_session* session, Work&& work) noexcept {
    const Status status = catching("libmigrate", [&]() -> Status {
        if (session == nullptr) return Error(ErrorKind::kUsage, "the session is null");
        return work(session->migration);
    });
    last_error.keep(session, status ? std::string_view() : status.error().message());
    return code_of(status);
}

Result<std::string_view> text_of(const char* text, std::string_view what) {
    if (text == nullptr) return make_error(ErrorKind::kUsage, "{} is null", what);
    return std::string_view(text);
}

migrate_owner owner_code(engine::GuestOwner owner) {
    switch (owner) {
        case engine::GuestOwner::kNone:
            return MIGRATE_OWNER_NONE;
        case engine::GuestOwner::kSource:
            return MIGRATE_OWNER_SOURCE;
        case engine::GuestOwner::kDestination:
            return MIGRATE_OWNER_DESTINATION;
        case engine::GuestOwner::kUnknown:
            break;
    }
    return MIGRATE_OWNER_UNKNOWN_SIDE;
}

migrate_status status_code(engine::MigrationStatus status) {
    using engine::MigrationStatus;
    switch (status) {
        case MigrationStatus::kNone:
            return MIGRATE_STATUS_NONE;
        case MigrationStatus::kSetup:
            return MIGRATE_STATUS_SETUP;
        case MigrationStatus::kPreSwitchover:
            return MIGRATE_STATUS_PRE_SWITCHOVER;
        case MigrationStatus::kDevice:
            return MIGRATE_STATUS_DEVICE;
        case MigrationStatus::kCancelling:
            return MIGRATE_STATUS_CANCELLING;
        case MigrationStatus::kCancelled:
            return MIGRATE_STATUS_CANCELLED;
        case MigrationStatus::kFailed:
            return MIGRATE_STATUS_FAILED;
        case MigrationStatus::kCompleted:
            return MIGRATE_STATUS_COMPLETED;
        default:
            return MIGRATE_STATUS_ACTIVE;
    }
}

std::uint64_t count_of(std::chrono::microseconds time) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 0));
}

migrate_progress progress_of(const engine::Report& report) {
    migrate_progress progress{};
    progress.status = status_code(report.status);
    progress.owner = owner_code(report.guest_owner);
    progress.round = report.round;
    if (report.guest) progress.cpu_throttle = report.guest->cpu_throttle;
    progress.total_bytes = report.total_bytes;
    progress.remaining_bytes = report.remaining_bytes();
    progress.transferred_bytes = report.transferred;
    if (report.progress) {
        progress.bytes_per_second = static_cast<std::uint64_t>(report.progress->speed.bytes);
        if (report.progress->time_left) {
            progress.time_left_us = count_of(*report.progress->time_left);
        }
    }
    progress.expected_downtime_us = count_of(report.expected_downtime);
    progress.downtime_us = count_of(report.downtime.total);
    progress.total_time_us = count_of(report.total_time);
    return progress;
}

struct LogReceiver {
    void (*log)(void* opaque, migrate_log_level level, const char* text) = nullptr;
    void* opaque = nullptr;
};
Mutex log_mutex;
LogReceiver log_receiver GUARDED_BY(log_mutex);

void write_log(log::Level level, std::string_view message) {
    static_cast<void>(catching("log", [&]() -> Status {
        LogReceiver receiver;
        {
            const MutexLock lock(log_mutex);
            receiver = log_receiver;
        }
        if (receiver.log == nullptr) return {};
        receiver.log(receiver.opaque, static_cast<migrate_log_level>(level),
                     std::string(message).c_str());
        return {};
    }));
}

RegionSpec spec_of(const struct migrate_region& region, std::string_view name) {
    return {.name = std::string(name),
            .address = static_cast<std::byte*>(region.address),
            .size_bytes = region.size,
            .fd = region.fd,
            .offset = region.offset,
            .page_size = region.page_size};
}

}  // namespace
}  // namespace migrate::lib

using namespace migrate::lib;
using migrate::Error;
using migrate::ErrorKind;
using migrate::Result;
using migrate::Status;

extern "C" {

const char* migrate_version(void) noexcept { return migrate::kVersion; }

void migrate_set_log(migrate_log_level level,
                     void (*log)(void* opaque, migrate_log_level level, const char* text),
                     void* opaque) noexcept {
    static_cast<void>(migrate::catching("log", [&]() -> Status {
        migrate::log::set_level(static_cast<migrate::log::Level>(
            std::clamp<int>(level, MIGRATE_LOG_DEBUG, MIGRATE_LOG_ERROR)));
        const migrate::MutexLock lock(log_mutex);
        log_receiver = {log, opaque};
        return {};
    }));
    migrate::log::set_writer(write_log);
}

migrate_session* migrate_new(migrate_side side) noexcept {
    // Until somebody asks for messages there are none.
    migrate::log::set_writer(write_log);
    if (side != MIGRATE_SEND && side != MIGRATE_RECV) return nullptr;
    auto made = migrate::catching("libmigrate", [&]() -> Result<migrate_session*> {
        return new migrate_session(side == MIGRATE_SEND ? migrate::Side::kSend
                                                        : migrate::Side::kRecv);
    });
    return made ? *made : nullptr;
}

void migrate_free(migrate_session* session) noexcept { delete session; }

int migrate_set_option(migrate_session* session, const char* option) noexcept {
    return attempt(session, [&](Migration& migration) -> Status {
        MIGRATE_ASSIGN(const std::string_view text, text_of(option, "the option"));
        return migration.set_option(text);
    });
}

int migrate_add_region(migrate_session* session, const struct migrate_region* region) noexcept {
    return attempt(session, [&](Migration& migration) -> Status {
        MIGRATE_ASSIGN(const struct migrate_region given, read_struct(region));
        MIGRATE_ASSIGN(const std::string_view name, text_of(given.name, "the region's name"));
        return migration.add_region(spec_of(given, name));
    });
}

int migrate_set_guest(migrate_session* session, const struct migrate_guest* guest) noexcept {
    return attempt(session, [&](Migration& migration) -> Status {
        MIGRATE_ASSIGN(const struct migrate_guest given, read_struct(guest));
        MIGRATE_ASSIGN(Callbacks callbacks, copy_callbacks(given));
        return migration.set_guest(std::move(callbacks));
    });
}

int migrate_set_event_handler(migrate_session* session,
                              void (*handle)(void* opaque, const char* event,
                                             const char* json_data),
                              void* opaque) noexcept {
    return attempt(session, [&](Migration& migration) -> Status {
        if (handle == nullptr) return migration.listen(nullptr);
        return migration.listen([handle, opaque](std::string_view event, const std::string& data) {
            // An exception of the handler is none of the migration's.
            static_cast<void>(migrate::catching("event", [&]() -> Status {
                handle(opaque, std::string(event).c_str(), data.c_str());
                return {};
            }));
        });
    });
}

int migrate_open(migrate_session* session) noexcept {
    return attempt(session, [](Migration& migration) { return migration.open(); });
}

const char* migrate_address(migrate_session* session) noexcept {
    auto address = migrate::catching("libmigrate", [&]() -> Result<std::string> {
        return session == nullptr ? std::string() : session->migration.address();
    });
    return last_address.keep(session, address ? *address : std::string());
}

migrate_outcome migrate_run(migrate_session* session) noexcept {
    return static_cast<migrate_outcome>(
        attempt(session, [](Migration& migration) { return migration.run(); }));
}

int migrate_start(migrate_session* session) noexcept {
    return attempt(session, [](Migration& migration) { return migration.start(); });
}

migrate_outcome migrate_wait(migrate_session* session, int64_t timeout_ms) noexcept {
    migrate_outcome outcome = MIGRATE_UNFINISHED;
    const int called = attempt(session, [&](Migration& migration) -> Status {
        // A day at a time would do, too: longer waits overflow the clock's type.
        constexpr std::int64_t kLongest = std::int64_t{1000} * 60 * 60 * 24 * 365;
        std::optional<std::chrono::milliseconds> timeout;
        if (timeout_ms >= 0) timeout = std::chrono::milliseconds(std::min(timeout_ms, kLongest));
        if (const std::optional<Status> ended = migration.wait(timeout)) {
            outcome = static_cast<migrate_outcome>(code_of(*ended));
        }
        return {};
    });
    return called == MIGRATE_COMPLETED ? outcome : static_cast<migrate_outcome>(called);
}

void migrate_cancel(migrate_session* session, const char* reason) noexcept {
    static_cast<void>(attempt(session, [&](Migration& migration) -> Status {
        migration.cancel(reason == nullptr ? "cancelled" : reason);
        return {};
    }));
}

int migrate_change(migrate_session* session, const char* option) noexcept {
    return attempt(session, [&](Migration& migration) -> Status {
        MIGRATE_ASSIGN(const std::string_view text, text_of(option, "the option"));
        return migration.change(text);
    });
}

int migrate_continue(migrate_session* session) noexcept {
    return attempt(session, [](Migration& migration) { return migration.continue_switchover(); });
}

int migrate_get_progress(migrate_session* session, migrate_progress* progress) noexcept {
    return attempt(session, [&](Migration& migration) -> Status {
        MIGRATE_ASSIGN(const auto report, migration.report());
        return write_struct(progress_of(report), progress);
    });
}

int migrate_statistics(migrate_session* session, char** json) noexcept {
    return attempt(session, [&](Migration& migration) -> Status {
        if (json == nullptr) return Error(ErrorKind::kUsage, "the place for the text is null");
        MIGRATE_ASSIGN(const auto report, migration.report());
        const std::string text = to_json(report);
        auto* copy = static_cast<char*>(std::malloc(text.size() + 1));
        if (copy == nullptr) return Error("out of memory");
        std::memcpy(copy, text.c_str(), text.size() + 1);
        *json = copy;
        return {};
    });
}

migrate_owner migrate_get_owner(migrate_session* session) noexcept {
    auto owner = migrate::catching("libmigrate", [&]() -> Result<migrate_owner> {
        return session == nullptr ? MIGRATE_OWNER_NONE : owner_code(session->migration.owner());
    });
    return owner ? *owner : MIGRATE_OWNER_UNKNOWN_SIDE;
}

const char* migrate_error(migrate_session* session) noexcept {
    if (last_error.session == session && last_error.text[0] != '\0') return last_error.text;
    auto reason = migrate::catching("libmigrate", [&]() -> Result<std::string> {
        if (session == nullptr) return std::string();
        const std::optional<Status> ended = session->migration.wait(std::chrono::milliseconds(0));
        return ended && !*ended ? ended->error().message() : std::string();
    });
    // Kept apart from the errors of calls, so that a second question has the same answer.
    return last_address.keep(session, reason ? *reason : reason.error().message());
}

int migrate_buffer_append(migrate_buffer* buffer, const void* data, size_t size) noexcept {
    if (buffer == nullptr || (data == nullptr && size != 0)) return MIGRATE_USAGE;
    const Status added = migrate::catching("the guest's state", [&]() -> Status {
        if (size > migrate::guest::kMaxStateBytes - buffer->bytes.size()) {
            return Error("too large");
        }
        buffer->bytes.append(static_cast<const char*>(data), size);
        return {};
    });
    if (added) return MIGRATE_COMPLETED;
    buffer->failed = true;
    return MIGRATE_FAILED;
}

}  // extern "C"
