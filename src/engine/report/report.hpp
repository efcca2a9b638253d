// SPDX-License-Identifier: Apache-2.0
// The figures of a migration, with QEMU's names and definitions (qapi/migration.json), and two ways
// to show them. Invariants, at completion: normal + duplicate + unpopulated + reused = the
// regions' pages (with a guest: without reused, the pages of all rounds' plans); the bytes of the
// main channel and of all multifd channels add up to transferred; payload-bytes + header-bytes =
// transferred.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "accel/dsa_accelerator.hpp"
#include "base/config/setting_value.hpp"
#include "base/cpu_budget.hpp"
#include "base/outcome.hpp"
#include "base/thread.hpp"
#include "base/units.hpp"
#include "engine/devices/device_counters.hpp"
#include "engine/postcopy/postcopy_report.hpp"
#include "engine/report/guest_owner.hpp"
#include "engine/report/migration_status.hpp"
#include "engine/report/outage_report.hpp"
#include "engine/report/path_report.hpp"
#include "engine/report/progress_meter.hpp"
#include "engine/report/round_history.hpp"
#include "transport/packet_builder.hpp"
#include "transport/security_info.hpp"
#include "transport/zero_copy.hpp"

namespace migrate::engine {

struct ChannelReport {
    std::string name;         // "main", "0", "1", …
    std::uint64_t bytes = 0;  // sender → receiver, headers included
    std::uint64_t payload_bytes = 0;
    std::uint64_t device_bytes = 0;  // of device chunks; not counted for the main channel
    std::uint64_t packets = 0;
    transport::PageCounts pages;
};

// The number of data channels, and with multifd-channels=auto at the sender the reason why there
// are not more.
struct MultifdReport {
    std::uint16_t channels = 0;
    std::string limited_by{};  // name of a ChannelLimit; empty: the number was given
    std::string reason{};
};

// Zero-copy send of all channels together; sender only.
struct ZeroCopyReport {
    bool used = false;  // it was tried
    transport::ZeroCopyFigures figures{};
    std::string reason{};  // why it was not used, or why channels copied after all; may be empty
};

// The checksums of packets (packet-checksum), of all channels together.
struct ChecksumReport {
    bool used = false;          // both sides agreed on them
    std::string reason{};       // why not; empty if they are used
    std::uint64_t with = 0;     // packets whose content had one
    std::uint64_t without = 0;  // packets whose content had none
};

// The pages that the receiver had already (reuse, resume).
struct ReuseReport {
    std::uint64_t digests = 0;  // pages that the sender asked for
    std::uint64_t pages = 0;    // those of them that the receiver had
    std::uint64_t bytes = 0;    // sender: of the questions, which are a part of transferred
    Microseconds time{};        // sender: until the last answer; receiver: for all answers
};

// The CPUs of this side.
struct CpuReport {
    std::string affinity{};       // value of cpu-affinity
    unsigned numa_groups = 1;     // sender: groups of channels, each near memory of its own
    unsigned budget_percent = 0;  // 0: no limit
    unsigned host_cpus = 1;
    // From the first page on, until the budget was lifted.
    CpuBudget::Figures use{};

    // CPU time used, as a percentage of the host's.
    double used_percent() const { return 100 * use.cpus_used / host_cpus; }
};

// The guest's downtime by cause, on the sender's clock; the parts add up to the total. The transit
// of DONE back to the sender, half a round trip, is not a part: the guest runs by then. The
// receiver knows only devices, load, resume and total.
struct DowntimeReport {
    Microseconds stop{};        // until no vCPU runs
    Microseconds last_round{};  // collecting the dirty pages and sending them
    Microseconds devices{};     // time of devices beyond the last round, on both sides
    Microseconds state_save{};
    Microseconds digest{};
    Microseconds load{};    // by the receiver's clock
    Microseconds resume{};  // by the receiver's clock
    Microseconds wire{};    // the rest: data in transit
    Microseconds total{};
};

// A part of the downtime, in the order in which reports name them.
struct DowntimePart {
    std::string_view key;   // in the statistics and the metrics
    std::string_view word;  // in the summary
    std::string_view meaning;
    Microseconds DowntimeReport::*time;
};
inline constexpr auto kDowntimeParts = std::to_array<DowntimePart>({
    {"stop", "stop", "Until no vCPU ran.", &DowntimeReport::stop},
    {"last-round", "last round", "Collecting the dirty pages and sending them.",
     &DowntimeReport::last_round},
    {"devices", "devices", "Time of devices beyond the last round, on both sides.",
     &DowntimeReport::devices},
    {"state-save", "state", "Saving the state of the machine.", &DowntimeReport::state_save},
    {"digest", "digest", "Comparing the digests (verify).", &DowntimeReport::digest},
    {"wire", "wire", "The rest: data in transit.", &DowntimeReport::wire},
    {"load", "load", "Loading the state at the receiver.", &DowntimeReport::load},
    {"resume", "resume", "Resuming the guest.", &DowntimeReport::resume},
});

// The guest's figures on this side.
struct GuestReport {
    std::string kind{};
    // QEMU's RunState: running, paused, finish-migrate, postmigrate, inmigrate
    std::string state{};
    std::string method{};         // guest::Guest::method(); sender only, empty if there is one way
    std::string dirty_tracker{};  // sender only
    // Time for which a thread of the memory's owner was stopped to attach to it; 0 if none was.
    Microseconds stood_still{};
    unsigned cpu_throttle = 0;  // percent
    double rate_before = 0;     // bytes written per second before the migration; 0: unknown
    double rate_during = 0;     // bytes written per second while tracked
    // CPU time of a foreign guest's vCPUs before and during the migration, in percent of one CPU;
    // 0: unknown. Sender only.
    double cpu_before = 0;
    double cpu_during = 0;
    double rate_after = 0;  // bytes written per second at the receiver
    Microseconds longest_gap{};
    std::string check{};  // "passed" or the error; empty: not checked
};

// Progress at the moment of the report.
struct ProgressReport {
    PresentSpeed speed;
    // Until all pages are sent if the speed stays as it is, and the guest writes as fast as in the
    // last round. Until the present round is sent if that rate is not known. Empty: no end is in
    // sight.
    std::optional<Microseconds> time_left;
};

struct Report {
    std::string side;       // "send" or "recv"
    std::uint32_t leg = 0;  // leg of a round trip (repeat), from 1; 0: no round trip
    MigrationStatus status = MigrationStatus::kNone;
    std::string error_desc;                      // empty: none
    std::optional<Outcome> outcome;              // set once the migration has ended
    GuestOwner guest_owner = GuestOwner::kNone;  // as far as this side knows, at any time
    std::string peer;                            // "ADDRESS:PORT"; empty: not connected
    transport::SecurityInfo security;            // of the main channel; valid with `peer`
    std::string memory;                          // the source's or sink's URI
    // A session reports the settings that were negotiated or chosen, or changed while it ran; the
    // command adds all others.
    SettingValues settings;
    // A part of the session's id, the same on both sides; empty before they have agreed on it. The
    // whole id would let a reader take part in the session.
    std::string session_id;
    std::string host;       // name of this host; empty: unknown
    std::string peer_host;  // name of the peer's host; empty: unknown, or only its address is known
    // Wall-clock times of the begin and end of total_time; the epoch stands for "not yet".
    std::chrono::system_clock::time_point began;
    std::chrono::system_clock::time_point ended;
    std::chrono::microseconds total_time{};
    std::chrono::microseconds setup_time{};
    std::uint64_t total_bytes = 0;  // size of all regions
    transport::PageCounts pages;    // pages found (sender) or placed (receiver) so far
    std::uint64_t transferred = 0;  // bytes, sender → receiver, over all channels, headers included
    std::uint64_t payload_bytes = 0;         // page content in transferred
    std::optional<ProgressReport> progress;  // while pages may move; empty before and at the end
    std::vector<ChannelReport> channels;     // the main channel first
    std::vector<PathReport> paths;           // sender; empty before the channels are connected
    MultifdReport multifd;
    OutageReport outages;
    std::optional<ZeroCopyReport> zero_copy;  // empty before the channels are connected
    std::optional<ChecksumReport> checksums;  // the same
    ReuseReport reuse;
    std::vector<ThreadTime> threads;
    CpuReport cpu;
    std::vector<std::string> digests;  // one per region, if verified
    std::vector<DeviceReport> devices;
    std::uint64_t device_buffer_peak = 0;  // receiver: most bytes of chunks that waited at once
    // The members below, except accel, are set with a guest only. At the end planned_pages, of all
    // rounds, equals normal + duplicate + unpopulated + postponed.
    std::uint64_t planned_pages = 0;
    std::uint64_t postponed_pages = 0;  // planned, and left to a later round's plan
    std::uint64_t dirty_pages = 0;      // collected, and in no round's plan yet
    std::uint32_t round = 0;            // the last one that began; 0: none
    std::uint64_t round_pages = 0;      // of its plan
    // Pages that the guest makes dirty per second, where no round has measured it on this side: by
    // its own rate of writing at the sender, by the sender's word at the receiver; 0: unknown.
    double dirty_rate = 0;
    // Time for which the guest has written pages that dirty_pages does not count yet.
    Microseconds uncollected{};
    RoundHistory rounds;
    Microseconds expected_downtime{};
    DowntimeReport downtime;
    std::optional<GuestReport> guest;
    std::optional<accel::AccelReport> accel;   // with dsa-accel
    std::optional<PostcopyReport> postcopy{};  // once post-copy has begun

    // True if the migration is complete and had a downtime: it moved a guest, or the sender moved
    // memory with devices.
    bool has_downtime() const;
    std::uint64_t multifd_bytes() const;
    // Memory that is still to be sent, as far as it is known: at the sender of a guest the rest of
    // the round, or what was collected for the next one.
    std::uint64_t remaining_bytes() const;
    // Decimal Mbit/s: the present ones while the migration runs, and at its end those over
    // total_time − setup_time, as in QEMU.
    double mbps() const;
    // The mean rate of these bytes over the same time, decimal Mbit/s.
    double mbps_of(std::uint64_t bytes) const;
    double pages_per_second() const;
};

// The progress of a migration with this present speed; the rest of the report is complete.
ProgressReport progress_of(const Report& report, const PresentSpeed& speed);

// Whole milliseconds, rounded down as in QEMU.
std::int64_t whole_ms(Microseconds time);

// The JSON document that --stats writes.
std::string to_json(const Report& report);
// The JSON that --stats writes for a round trip: a list of such documents, one per leg.
std::string to_json(const std::vector<Report>& legs);
// At most five lines for people about a completed migration: what was moved, how long it took, the
// downtime and its parts, the rounds or pages, and the proof.
std::string to_summary(const Report& report);
// All figures as a list, in the style of `info migrate`. If no connection was made, only the
// status and the reason.
std::string to_text(const Report& report);

}  // namespace migrate::engine
