// SPDX-License-Identifier: Apache-2.0
// The figures on which decisions about a live migration are based.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/config/choices.hpp"
#include "base/units.hpp"

namespace migrate::engine {

using Microseconds = std::chrono::microseconds;

// Parameters that the user may change while the migration runs, with QEMU's names and units where
// QEMU has them.
struct Tunables {
    std::uint64_t max_bandwidth = 0;               // bytes per second, 0: no limit
    std::uint64_t avail_switchover_bandwidth = 0;  // bytes per second, 0: as measured
    Microseconds downtime_limit{300'000};
    Microseconds max_downtime{};  // the limit may be raised up to this; 0: never
    bool shorten_downtime = false;
    bool auto_converge = false;
    unsigned throttle_trigger_threshold = 50;  // dirtied bytes, in percent of the bytes sent
    unsigned cpu_throttle_initial = 20;        // percent
    unsigned cpu_throttle_increment = 10;
    unsigned max_cpu_throttle = 99;
    Microseconds deadline{};  // since the migration became active; 0: none
    OnDeadline on_deadline = OnDeadline::kCancel;
    Microseconds stall_limit{};  // longest stall without a countermeasure; 0: no limit
};

// The measured figures of one round, and the pages that were dirty after it.
struct RoundFigures {
    std::uint32_t round = 0;
    std::uint64_t pages = 0;         // pages of its plan
    std::uint64_t normal_pages = 0;  // pages of its plan that were sent with content
    // Pages of its plan that were not sent: the guest had written them again before their turn, so
    // they are among dirty_pages.
    std::uint64_t postponed_pages = 0;
    std::uint64_t bytes = 0;  // bytes sent on the data channels
    // The bytes that were sent at its end without max-bandwidth, and the time from the first of
    // them until all is in place; 0 if there are none.
    std::uint64_t tail_bytes = 0;
    Microseconds tail_time{};
    Microseconds duration{};      // from its start until the receiver confirms that all is in place
    Microseconds collect_time{};  // time to collect the dirty pages after the round
    std::uint64_t dirty_pages = 0;  // pages dirtied since it began
    Microseconds elapsed{};         // from the migration becoming active to the round's end
    // Time in which there was no data channel: of this round, and of all so far.
    Microseconds outage{};
    Microseconds outages{};

    // The part of the duration in which data could move.
    Microseconds moving_time() const { return std::max(duration - outage, Microseconds(0)); }

    std::uint64_t sent_pages() const { return pages - std::min(pages, postponed_pages); }
    // The bytes that it would have sent with the pages that were postponed.
    double planned_bytes() const;
    double bytes_per_second() const;
    double dirty_pages_per_second() const;
};

// The downtime beside the last round, as far as it is known.
struct FixedCosts {
    Microseconds round_trip{};  // round trip of the network
    Microseconds load{};        // time to load and resume the guest, reported by the receiver
    Microseconds digest{};      // digest of all memory, with verify=digest
    // Network round trips while the guest is stopped: the last round and COMPLETE to the receiver,
    // LOADED back, HANDOVER to the receiver.
    double round_trips = 1.5;
};

}  // namespace migrate::engine
