// SPDX-License-Identifier: Apache-2.0
// Makes the JSON that --stats writes, and its schema.
#include "base/config/option_schema.hpp"
#include "base/utc_text.hpp"
#include "base/version.hpp"
#include "engine/report/report_members.hpp"
#include "engine/report/schemas.hpp"

namespace migrate::engine {
namespace {

// "side", as a type with a list of names.
enum class SideWord { kSend, kRecv };
constexpr auto enum_names(SideWord) {
    return names_of_enum<SideWord>({{SideWord::kSend, "send"}, {SideWord::kRecv, "recv"}});
}

std::optional<std::string> time_text(std::chrono::system_clock::time_point time) {
    return time == std::chrono::system_clock::time_point{} ? std::nullopt
                                                           : std::optional(utc_text(time));
}

std::vector<DeviceView> devices_of(const Report& report) {
    std::vector<DeviceView> devices;
    for (const DeviceReport& device : report.devices) devices.push_back({report, device});
    return devices;
}

std::vector<PathView> paths_of(const Report& report) {
    std::vector<PathView> paths;
    for (const PathReport& path : report.paths) paths.push_back({report, path});
    return paths;
}

std::vector<RoundReport> rounds_of(const Report& report) {
    std::vector<RoundReport> rounds;
    for (const RoundReport* round : report.rounds.kept()) rounds.push_back(*round);
    return rounds;
}

// Makes a function that returns what `get` returns if `present` is true of the report.
template <typename Present, typename Get>
auto only_if(Present present, Get get) {
    using Value = std::remove_cvref_t<std::invoke_result_t<const Get&, const Report&>>;
    return [present, get](const Report& report) {
        return present(report) ? std::optional<Value>(std::invoke(get, report)) : std::nullopt;
    };
}

bool sends_guest(const Report& report) { return report.guest && report.side == "send"; }
bool expects_downtime(const Report& report) {
    return !report.has_downtime() && report.status != MigrationStatus::kCompleted &&
           !report.rounds.empty();
}
bool has_peer(const Report& report) { return !report.peer.empty(); }
bool has_devices(const Report& report) { return !report.devices.empty(); }
bool has_downtime(const Report& report) { return report.has_downtime(); }

// The members that name the program, the hosts and the session.
void add_identity(Members<Report>& rows) {
    const auto add = [&](auto... fields) { rows.push_back(member<Report>(fields...)); };
    add("format", "Version of this format. It changes when a member changes or goes.",
        [](const Report&) { return kStatisticsFormat; });
    add("version", "Version of the program that wrote this.",
        [](const Report&) { return std::string(kVersion); });
    add("side", "The command.", [](const Report& report) {
        return value_named<SideWord>(report.side).value_or(SideWord::kSend);
    });
    add("host", "Name of this host.",
        [](const Report& report) { return unless_empty(report.host); });
    add("peer-host", "Name of the peer's host, if the connection was made by name.",
        [](const Report& report) { return unless_empty(report.peer_host); });
    add("session-id", "A part of the session's id, the same on both sides.",
        [](const Report& report) { return unless_empty(report.session_id); });
    add("began", "Wall-clock time at which total-time began (RFC 3339, UTC).",
        [](const Report& report) { return time_text(report.began); });
    add("ended", "Wall-clock time at which total-time ended.",
        [](const Report& report) { return time_text(report.ended); });
}

void add_times_and_counts(Members<Report>& rows) {
    const auto add = [&](auto... fields) { rows.push_back(member<Report>(fields...)); };
    add("status", "QEMU's MigrationStatus.", &Report::status);
    add("total-time", "ms.", [](const Report& report) { return whole_ms(report.total_time); });
    add("setup-time", "ms until the first page.",
        [](const Report& report) { return whole_ms(report.setup_time); });
    add("total-time-us", "The same in µs.", &Report::total_time);
    add("setup-time-us", "", &Report::setup_time);
    add("ram", "What was sent.", [](const Report& report) { return RamView{report}; });
    add("channels", "The main channel first.", &Report::channels);
    add("paths", "Sender: the network paths.",
        only_if([](const Report& report) { return !report.paths.empty(); }, paths_of));
    add("multifd", "The data channels.", &Report::multifd);
    add("outages", "The cost of lost connections.",
        [](const Report& report) { return OutagesView{report}; });
    add("threads", "CPU time of each thread.", &Report::threads);
    add("cpu", "The CPUs of this side.", &Report::cpu);
    add("memory", "The source, or the sink.", &Report::memory);
    add("time-left", "ms, while the migration runs and an end is in sight.",
        [](const Report& report) -> std::optional<std::int64_t> {
            if (!report.progress || !report.progress->time_left) return std::nullopt;
            return whole_ms(*report.progress->time_left);
        });
    add("zero-copy", "Zero-copy send; sender only.", &Report::zero_copy);
    add("packet-checksum", "Checksums of packets.", &Report::checksums);
    add("reuse", "Questions for pages that the receiver had.",
        only_if([](const Report& report) { return report.reuse.digests != 0; }, &Report::reuse));
}

// The members that only a migration with a guest or with devices has.
void add_guest(Members<Report>& rows) {
    const auto add = [&](auto... fields) { rows.push_back(member<Report>(fields...)); };
    add("downtime", "ms for which the guest was paused.",
        only_if(has_downtime,
                [](const Report& report) { return whole_ms(report.downtime.total); }));
    add("downtime-us", "The same in µs.",
        only_if(has_downtime, [](const Report& report) { return report.downtime.total; }));
    add("downtime-split-us", "Its parts.", only_if(has_downtime, &Report::downtime));
    add("expected-downtime", "ms, as long as the guest was not moved.",
        only_if(expects_downtime,
                [](const Report& report) { return whole_ms(report.expected_downtime); }));
    add("cpu-throttle-percentage", "Sender: the guest's throttle.",
        only_if(sends_guest, [](const Report& report) { return report.guest->cpu_throttle; }));
    add("rounds", "Sender: the first 32 and the last 64 rounds.", only_if(sends_guest, rounds_of));
    add("rounds-left-out", "Sums over the other rounds.",
        only_if(sends_guest, [](const Report& report) { return report.rounds.left_out(); }));
    add("guest", "The guest on this side.", &Report::guest);
    add("postcopy", "Post-copy, once it has begun.", &Report::postcopy);
    add("postcopy-latency", "Receiver: average time in ns until a requested page was in place.",
        [](const Report& report) -> std::optional<std::int64_t> {
            if (!report.postcopy || report.postcopy->latency.faults == 0) return std::nullopt;
            return report.postcopy->latency.average.count();
        });
    add("postcopy-latency-dist",
        "Receiver: element N counts the requested pages that took 2^N to 2^(N+1) us.",
        [](const Report& report) -> std::optional<std::vector<std::uint64_t>> {
            if (!report.postcopy || report.postcopy->latency.faults == 0) return std::nullopt;
            return report.postcopy->latency.distribution;
        });
    add("devices", "The devices whose state was moved.", only_if(has_devices, devices_of));
    add("device-state-buffer-peak", "Receiver: most bytes of device state that waited at once.",
        only_if([](const Report& report) { return has_devices(report) && report.side == "recv"; },
                &Report::device_buffer_peak));
}

void add_end(Members<Report>& rows) {
    const auto add = [&](auto... fields) { rows.push_back(member<Report>(fields...)); };
    add("accel", "DSA, with zero-page-detection=dsa-accel.", &Report::accel);
    add("outcome", "How the migration ended; absent while it runs.", &Report::outcome);
    add("guest-owner", "The side that has the guest, as far as this side knows.",
        &Report::guest_owner);
    add("error-desc", "Why it failed.",
        [](const Report& report) { return unless_empty(report.error_desc); });
    add("peer", "Address and port of the peer.",
        [](const Report& report) { return unless_empty(report.peer); });
    add("security", "The protection of the connections.", only_if(has_peer, &Report::security));
    add("digests", "One per region, the same on both sides (verify).",
        only_if([](const Report& report) { return !report.digests.empty(); }, &Report::digests));
    add("leg", "Of a round trip (repeat), from 1.",
        only_if([](const Report& report) { return report.leg != 0; }, &Report::leg));
    add("settings",
        "All options of the command, as they were given, negotiated, chosen or changed.",
        &Report::settings);
}

std::string text_of(const Json& json) {
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace

const Members<Report>& MembersOf<Report>::all() {
    static const Members<Report> kAll = [] {
        Members<Report> rows;
        add_identity(rows);
        add_times_and_counts(rows);
        add_guest(rows);
        add_end(rows);
        return rows;
    }();
    return kAll;
}

std::string to_json(const Report& report) { return text_of(object_of(report)); }

std::string to_json(const std::vector<Report>& legs) { return text_of(json_of(legs)); }

std::string statistics_schema() {
    Json report = object_schema<Report>();
    report["properties"]["format"]["const"] = kStatisticsFormat;
    for (const char* time : {"began", "ended"}) {
        report["properties"][time]["format"] = "date-time";
    }
    const Json leg{{"$ref", "#/$defs/report"}};
    return schema_text("Statistics of migrate",
                       {{"anyOf", {leg, {{"type", "array"}, {"items", leg}, {"minItems", 1}}}},
                        {"$defs", {{"report", std::move(report)}}}});
}

}  // namespace migrate::engine
