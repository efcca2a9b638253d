// SPDX-License-Identifier: Apache-2.0
// The event log: one line of JSON per event, in the form of QMP's events.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/config/setting_value.hpp"
#include "base/error.hpp"
#include "base/mutex.hpp"
#include "base/output.hpp"
#include "engine/report/event_table.hpp"
#include "engine/report/guest_owner.hpp"

namespace migrate::engine {

using EventValue = std::variant<std::uint64_t, std::string, SettingValues>;
using EventField = std::pair<std::string_view, EventValue>;

// Writes {"event": …, "data": {…}, "timestamp": {"seconds": …, "microseconds": …}} lines.
// Thread-safe. emit() does not wait for the file: a separate thread writes it. If the file accepts
// nothing and the queue is full, events are dropped; the event EVENTS_DROPPED then says how many
// ("count").
class EventLog {
  public:
    // A log without a file.
    EventLog() = default;
    // Waits until every event is written; gives up if the file accepts nothing for one second.
    ~EventLog();
    EventLog(const EventLog&) = delete;
    EventLog& operator=(const EventLog&) = delete;
    // Opens a log that writes to a file, and truncates the file. kUsage if it cannot be opened.
    static Result<std::unique_ptr<EventLog>> open(const std::string& path);

    // The listener is called with every event, too; QMP clients get their events this way. Call
    // this before the first emit().
    using Listener = std::function<void(std::string_view event, const std::string& json_data)>;
    void listen(Listener listener) {
        const MutexLock lock(mutex_);
        listener_ = std::move(listener);
    }

    // A failed write is logged once and ends the log; it never ends a migration.
    void emit(EventName event, std::initializer_list<EventField> data) {
        emit(event, std::span(data.begin(), data.size()));
    }
    void emit(EventName event, std::span<const EventField> data);
    // Waits until every event is written. Returns false if the file accepts nothing for one second.
    bool flush() { return !file_ || output::drain(*file_); }

  private:
    std::unique_ptr<AsyncWriter> file_;  // null: no file; set by open() and thread-safe
    std::string path_;                   // set by open()
    Mutex mutex_;                        // also orders the events
    Listener listener_ GUARDED_BY(mutex_);
};

// Emits the last MIGRATION event: "status" as in QEMU, "outcome", "reason" if there was an error,
// and "guest-owner".
void emit_end(EventLog& events, const Status& status, GuestOwner owner);

}  // namespace migrate::engine
