// SPDX-License-Identifier: Apache-2.0
#include "engine/report/events.hpp"

#include <fcntl.h>

#include <cerrno>
#include <chrono>
#include <vector>

#include "base/log.hpp"
#include "base/outcome.hpp"
#include "base/replacement_file.hpp"
#include "engine/report/json_members.hpp"
#include "engine/report/migration_status.hpp"

namespace migrate::engine {
namespace {

constexpr std::size_t kQueueBytes = std::size_t{1024} * 1024;

std::string event_line(std::string_view event, Json fields) {
    const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count();
    const Json line = {
        {"event", std::string(event)},
        {"data", std::move(fields)},
        {"timestamp", {{"seconds", now / 1'000'000}, {"microseconds", now % 1'000'000}}}};
    return line.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace

Result<std::unique_ptr<EventLog>> EventLog::open(const std::string& path) {
    UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kPrivateFileMode));
    if (!file) {
        return Error::system(fmt::format("open the events file {}", path), errno)
            .as(ErrorKind::kUsage);
    }
    auto log = std::make_unique<EventLog>();
    log->path_ = path;
    log->file_ = std::make_unique<AsyncWriter>(
        std::move(file),
        AsyncWriter::Options{
            .queue_bytes = kQueueBytes,
            .dropped_line =
                [](std::uint64_t count) {
                    return event_line(EventName("EVENTS_DROPPED").text(), {{"count", count}});
                },
            .ends_at_error = true,
            .on_end =
                [path](int error) {
                    log::warning("{}; no more events are written to it",
                                 Error::system("write the events file " + path, error).message());
                }});
    return log;
}

EventLog::~EventLog() {
    if (flush()) return;
    log::error("the events file {} takes nothing: {} events are lost", path_, file_->unwritten());
}

void EventLog::emit(EventName event, std::span<const EventField> data) {
    const MutexLock lock(mutex_);
    if (!file_ && !listener_) return;
    Json fields = Json::object();
    for (const auto& [key, value] : data) {
        fields[std::string(key)] =
            std::visit([](const auto& held) { return json_of(held); }, value);
    }
    if (listener_)
        listener_(event.text(), fields.dump(-1, ' ', false, Json::error_handler_t::replace));
    if (file_) file_->write(event_line(event.text(), std::move(fields)));
}

void emit_end(EventLog& events, const Status& status, GuestOwner owner) {
    const Outcome outcome = outcome_of(status);
    std::vector<EventField> fields{{"status", std::string(name_of(final_status_of(outcome)))},
                                   {"outcome", std::string(name_of(outcome))}};
    if (!status) fields.emplace_back("reason", status.error().message());
    fields.emplace_back("guest-owner", std::string(name_of(owner)));
    events.emit("MIGRATION", fields);
}

}  // namespace migrate::engine
