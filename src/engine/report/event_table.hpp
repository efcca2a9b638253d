// SPDX-License-Identifier: Apache-2.0
// The only table of events: a name that is not in it does not compile, and the schema of the events
// file is made from it.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "base/enum_names.hpp"
#include "base/outcome.hpp"
#include "engine/convergence/convergence.hpp"
#include "engine/report/guest_owner.hpp"
#include "engine/report/migration_status.hpp"

namespace migrate::engine {

// kSettings: an object with a value for each option.
enum class EventType { kNumber, kText, kWord, kSettings };

struct EventDataRow {
    std::string_view key;
    EventType type = EventType::kNumber;
    bool always = true;  // false: some events of that name lack it
    std::string_view meaning;
    std::span<const std::string_view> words{};  // of kWord
};

struct EventRow {
    std::string_view name;
    std::string_view meaning;
    std::span<const EventDataRow> data{};
};

namespace event_rows {

inline constexpr std::array<std::string_view, 2> kSides{"send", "recv"};
inline constexpr auto kOutcomeWords = [] {
    std::array<std::string_view, kOutcomes.size()> words{};
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = kOutcomes[i].word;
    return words;
}();

inline constexpr auto kBegin = std::to_array<EventDataRow>({
    {"format", EventType::kNumber, true, "version of the format of the events"},
    {"version", EventType::kText, true, "version of the program"},
    {"side", EventType::kWord, true, "the command", kSides},
    {"host", EventType::kText, false, "name of this host"},
    {"settings", EventType::kSettings, true, "all options of the command"},
});
inline constexpr auto kSession = std::to_array<EventDataRow>({
    {"session-id", EventType::kText, true, "as in the statistics of both sides"},
});
inline constexpr auto kMigration = std::to_array<EventDataRow>({
    {"status", EventType::kWord, true, "QEMU's MigrationStatus", kNames<MigrationStatus>},
    {"outcome", EventType::kWord, false, "how it ended", kOutcomeWords},
    {"reason", EventType::kText, false, "why it failed"},
    {"guest-owner", EventType::kWord, false, "the side that has the guest", kNames<GuestOwner>},
});
inline constexpr auto kChannels = std::to_array<EventDataRow>({
    {"channels", EventType::kNumber, true, "number of all channels"},
});
inline constexpr auto kInterrupted = std::to_array<EventDataRow>({
    {"reconnect-timeout", EventType::kNumber, false, "sender: ms"},
    {"pass", EventType::kNumber, false, "receiver: the round"},
});
inline constexpr auto kResumed = std::to_array<EventDataRow>({
    {"duration", EventType::kNumber, false, "sender: ms without a connection"},
    {"pass", EventType::kNumber, false, "receiver: the round"},
});
inline constexpr auto kPass = std::to_array<EventDataRow>({
    {"pass", EventType::kNumber, true, "the round, from 1"},
    {"pages", EventType::kNumber, true, "pages of the round"},
    {"bytes", EventType::kNumber, true, "their size"},
    {"transferred", EventType::kNumber, false, "sender: bytes sent so far"},
    {"dirty-pages", EventType::kNumber, false, "pages written during the round before"},
    {"dirty-pages-rate", EventType::kNumber, false, "the same per second"},
    {"bandwidth", EventType::kNumber, false, "bytes per second in the round before"},
    {"expected-downtime", EventType::kNumber, false, "ms, after the round before"},
    {"downtime-limit", EventType::kNumber, false, "ms, in force"},
    {"cpu-throttle-percentage", EventType::kNumber, false, "in force"},
});
inline constexpr auto kProgress = std::to_array<EventDataRow>({
    {"pass", EventType::kNumber, true, "the round; 0 for an image at the sender"},
    {"remaining", EventType::kNumber, true, "bytes"},
    {"transferred", EventType::kNumber, true, "bytes"},
    {"bytes-per-second", EventType::kNumber, true, "of the last two seconds"},
    {"total-time", EventType::kNumber, true, "ms so far"},
    {"time-left", EventType::kNumber, false, "ms, if an end is in sight"},
});
inline constexpr auto kStalled = std::to_array<EventDataRow>({
    {"pass", EventType::kNumber, true, "the round that ended"},
    {"remaining", EventType::kNumber, true, "bytes that the guest wrote meanwhile"},
    {"obstacle", EventType::kWord, true, "why the guest is not switched over", kNames<Obstacle>},
    {"smallest-downtime-limit", EventType::kNumber, true, "ms that would allow it"},
    {"reason", EventType::kText, true, "the obstacle in words"},
});
inline constexpr auto kDropped = std::to_array<EventDataRow>({
    {"count", EventType::kNumber, true, "number of events that were dropped"},
});

}  // namespace event_rows

inline constexpr auto kEvents = std::to_array<EventRow>({
    {"MIGRATION_BEGIN", "The command has begun: first event of the file, and in no other place.",
     event_rows::kBegin},
    {"MIGRATION_SESSION", "Both sides have agreed on a session.", event_rows::kSession},
    {"MIGRATION", "A new status; the last event of a migration also says how it ended.",
     event_rows::kMigration},
    {"MULTIFD_CONNECTED", "All channels of the start are connected.", event_rows::kChannels},
    {"MULTIFD_CHANNELS_ADDED", "Channels were added, or replace lost ones.", event_rows::kChannels},
    {"MIGRATION_INTERRUPTED", "No main channel or no data channel is left.",
     event_rows::kInterrupted},
    {"MIGRATION_RESUMED", "Connected again.", event_rows::kResumed},
    {"MIGRATION_PASS", "A round begins.", event_rows::kPass},
    {"MIGRATION_PROGRESS", "Twice a second while pages move.", event_rows::kProgress},
    {"MIGRATION_STALLED", "More rounds do not help.", event_rows::kStalled},
    {"STOP", "The guest was paused at the sender."},
    {"RESUME",
     "The guest was resumed at the receiver, or at the sender after a loss in the switchover."},
    {"EVENTS_DROPPED", "The file did not take events.", event_rows::kDropped},
});

// The name of an event of the table; made of a literal.
class EventName {
  public:
    // Implicit on purpose, for emit("STOP", …).
    consteval EventName(const char* name) : row_(find(name)) {}
    constexpr std::string_view text() const { return row_->name; }
    constexpr const EventRow& row() const { return *row_; }

  private:
    static consteval const EventRow* find(std::string_view name) {
        for (const EventRow& row : kEvents) {
            if (row.name == name) return &row;
        }
        // Not a constant expression: the name is in no row.
        throw "no event of this name";
    }

    const EventRow* row_;
};

}  // namespace migrate::engine
