// What happens, as it happens: a line of JSON an event, in the shape of QMP's events.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/error.hpp"
#include "base/output.hpp"
#include "engine/guest_owner.hpp"

namespace migrate::engine {

using EventValue = std::variant<std::uint64_t, std::string>;
using EventField = std::pair<std::string_view, EventValue>;

// Writes {"event": …, "data": {…}, "timestamp": {"seconds": …, "microseconds": …}} lines.
// Thread-safe. No call waits for the file: its own thread writes it. Events that a file which takes
// nothing has no room for are dropped; the event EVENTS_DROPPED then says how many ("count").
class EventLog {
  public:
    // Nowhere.
    EventLog() = default;
    // Waits until the file has every event, and gives up a file that takes nothing for one second.
    ~EventLog();
    EventLog(const EventLog&) = delete;
    EventLog& operator=(const EventLog&) = delete;
    // To a file, which is emptied. kUsage if it cannot be opened.
    static Result<std::unique_ptr<EventLog>> open(const std::string& path);

    // Is called with every event, too; QMP's clients get them this way. Before the first emit().
    using Listener = std::function<void(std::string_view event, const std::string& json_data)>;
    void listen(Listener listener) { listener_ = std::move(listener); }

    // A write that fails is logged once and ends the log; it never ends a migration.
    void emit(std::string_view event, std::initializer_list<EventField> data) {
        emit(event, std::span(data.begin(), data.size()));
    }
    void emit(std::string_view event, std::span<const EventField> data);
    // Waits until the file has every event; false if it takes nothing for one second.
    bool flush() { return !file_ || output::drain(*file_); }

  private:
    std::mutex mutex_;                   // orders the events
    std::unique_ptr<AsyncWriter> file_;  // null: no file
    std::string path_;
    Listener listener_;
};

// MIGRATION, as it is emitted once, at the end: "status" as QEMU has it, the outcome's word, its
// reason where it has one, and who has the guest.
void emit_end(EventLog& events, const Status& status, GuestOwner owner);

}  // namespace migrate::engine
