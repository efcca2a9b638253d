// The figures that decisions about a live migration rest on.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/units.hpp"

namespace migrate::engine {

using Microseconds = std::chrono::microseconds;

enum class OnDeadline { kSwitch, kCancel };

// What the user may change while the migration runs; QEMU's names and units where it has them.
struct Tunables {
    std::uint64_t max_bandwidth = 0;               // bytes per second, 0: no limit
    std::uint64_t avail_switchover_bandwidth = 0;  // bytes per second, 0: as measured
    Microseconds downtime_limit{300'000};
    Microseconds max_downtime{};  // how far the limit may be raised; 0: not at all
    bool auto_converge = false;
    unsigned throttle_trigger_threshold = 50;  // percent of the bytes sent that were dirtied again
    unsigned cpu_throttle_initial = 20;        // percent
    unsigned cpu_throttle_increment = 10;
    unsigned max_cpu_throttle = 99;
    Microseconds deadline{};  // of the whole migration; 0: none
    OnDeadline on_deadline = OnDeadline::kCancel;
    Microseconds stall_limit{};  // how long it may stall with no rung left; 0: for ever
};

// One round as it was measured, with what was dirty after it.
struct RoundFigures {
    std::uint32_t round = 0;
    std::uint64_t pages = 0;         // of its plan
    std::uint64_t normal_pages = 0;  // of them, those that went with content
    std::uint64_t bytes = 0;         // on the wire
    Microseconds duration{};         // from its start to the receiver's word that all is in place
    Microseconds collect_time{};     // of asking what is dirty, afterwards
    std::uint64_t dirty_pages = 0;   // since it began
    Microseconds elapsed{};          // since the migration became active, up to its end

    double bytes_per_second() const;
    double dirty_pages_per_second() const;
};

// What stops the guest beside the last round, as far as it is known.
struct FixedCosts {
    Microseconds round_trip{};  // of the network
    Microseconds load{};        // loading and resuming at the receiver, by its own word
    Microseconds digest{};      // of all memory, where verify=digest
    // Of the network while the guest stands still: the last round and COMPLETE there and LOADED
    // back, HANDOVER there.
    double round_trips = 1.5;
};

}  // namespace migrate::engine
