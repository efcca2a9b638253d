// The figures of a migration, by QEMU's names and definitions (qapi/migration.json), and two ways
// to show them. Invariants, at completion: normal + duplicate + unpopulated = the regions' pages,
// and with a guest those of all rounds' plans;
// the bytes of the main channel and of all multifd channels add up to transferred; payload-bytes +
// header-bytes = transferred.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "accel/dsa_accelerator.hpp"
#include "base/outcome.hpp"
#include "base/thread.hpp"
#include "base/units.hpp"
#include "engine/device_counters.hpp"
#include "engine/guest_owner.hpp"
#include "engine/migration_status.hpp"
#include "engine/round_history.hpp"
#include "transport/packet_builder.hpp"

namespace migrate::engine {

struct ChannelReport {
    std::string name;         // "main", "0", "1", …
    std::uint64_t bytes = 0;  // sender → receiver, everything
    std::uint64_t payload_bytes = 0;
    std::uint64_t device_bytes = 0;  // of devices' chunks; of the main channel it is not counted
    std::uint64_t packets = 0;
    transport::PageCounts pages;
};

// How long the guest stood still, by what it waited for, in the sender's clock; they add up to the
// total. The way of DONE back to the sender, half a round trip, is no part of it: the guest runs by
// then. At the receiver only load, resume and total are known.
struct DowntimeReport {
    Microseconds stop{};        // until no vCPU ran
    Microseconds last_round{};  // collecting what was dirty, sending it
    Microseconds devices{};     // what devices took beyond the last round, on either side
    Microseconds state_save{};
    Microseconds digest{};
    Microseconds load{};    // by the receiver's clock
    Microseconds resume{};  // by the receiver's clock
    Microseconds wire{};    // the rest: what was under way
    Microseconds total{};
};

// The guest as it is on this side.
struct GuestReport {
    std::string kind{};
    // QEMU's RunState: running, paused, finish-migrate, postmigrate, inmigrate
    std::string state{};
    std::string dirty_tracker{};  // sender
    // How long a thread of the memory's owner stood still to be attached to; 0 if none did.
    Microseconds stood_still{};
    unsigned cpu_throttle = 0;  // percent
    double rate_before = 0;     // bytes written a second, before the migration; 0: not known here
    double rate_during = 0;     // … while it was tracked
    double rate_after = 0;      // … at the receiver
    Microseconds longest_gap{};
    std::string check{};  // "passed" or what is wrong; empty: not checked
};

struct Report {
    std::string side;       // "send" or "recv"
    std::uint32_t leg = 0;  // of a journey there and back, from 1; 0: of none
    MigrationStatus status = MigrationStatus::kNone;
    std::string error_desc;                      // empty: none
    std::optional<Outcome> outcome;              // once it has ended
    GuestOwner guest_owner = GuestOwner::kNone;  // as far as this side knows, at any time
    std::string peer;                            // "ADDRESS:PORT"; empty: not connected
    std::string memory;                          // the source's or sink's URI
    // What was agreed on and chosen, by option name.
    std::vector<std::pair<std::string, std::string>> settings;
    std::chrono::microseconds total_time{};
    std::chrono::microseconds setup_time{};
    std::uint64_t total_bytes = 0;  // of all regions
    transport::PageCounts pages;    // found (sender) or placed (receiver) so far
    std::uint64_t transferred = 0;  // bytes, sender → receiver, over all channels, headers included
    std::uint64_t payload_bytes = 0;      // page content in it
    std::vector<ChannelReport> channels;  // the main channel first
    std::vector<ThreadTime> threads;
    std::vector<std::string> digests;  // one a region, if verified
    std::vector<DeviceReport> devices;
    std::uint64_t device_buffer_peak = 0;  // receiver: bytes of chunks that waited at once, at most
    // With a guest:
    std::uint64_t planned_pages = 0;  // of all rounds; normal + duplicate + unpopulated at the end
    std::uint64_t dirty_pages = 0;    // still to be sent, at the last look
    RoundHistory rounds;
    Microseconds expected_downtime{};
    DowntimeReport downtime;
    std::optional<GuestReport> guest;
    std::optional<accel::AccelReport> accel;  // with dsa-accel

    // Whether it is complete and something stood still for it: a guest, or memory whose devices
    // moved.
    bool has_downtime() const;
    std::uint64_t multifd_bytes() const;
    std::uint64_t remaining_bytes() const;
    // Decimal Mbit/s over total_time − setup_time, as QEMU's mbps at completion.
    double mbps() const;
    double pages_per_second() const;
};

// As QEMU shows times: rounded down.
std::int64_t whole_ms(Microseconds time);

// The document --stats writes.
std::string to_json(const Report& report);
// … and what it writes of a journey: a list of such documents, a leg each.
std::string to_json(const std::vector<Report>& legs);
// The summary for people, in the manner of `info migrate`.
std::string to_text(const Report& report);

}  // namespace migrate::engine
