// Makes the JSON that --stats writes.
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/report/report.hpp"

namespace migrate::engine {
namespace {

using Json = nlohmann::ordered_json;

Json ram_json(const Report& report) {
    Json ram = {
        {"total", report.total_bytes},
        {"transferred", report.transferred},
        {"normal", report.pages.normal},
        {"normal-bytes", report.pages.normal * kPageSize},
        {"duplicate", report.pages.zero},
        {"unpopulated", report.pages.unpopulated},
        {"reused", report.reuse.pages},
        {"mbps", report.mbps()},
        {"pages-per-second", static_cast<std::uint64_t>(report.pages_per_second())},
        {"page-size", kPageSize},
        {"multifd-bytes", report.multifd_bytes()},
        {"payload-bytes", report.payload_bytes},
        {"header-bytes", report.transferred - report.payload_bytes},
    };
    if (report.side == "send") {
        ram["dirty-sync-missed-zero-copy"] =
            report.zero_copy ? report.zero_copy->figures.missed_rounds : 0;
    }
    if (report.guest) {
        ram["dirty-sync-count"] = report.rounds.size();
        ram["planned-pages"] = report.planned_pages;
        if (!report.rounds.empty() && !is_final(report.status)) {
            ram["dirty-pages-rate"] =
                static_cast<std::uint64_t>(report.rounds.back().figures.dirty_pages_per_second());
        }
    }
    // QEMU, too, reports it only while the migration runs.
    if (!is_final(report.status)) ram["remaining"] = report.remaining_bytes();
    return ram;
}

Json rounds_json(const Report& report) {
    Json rounds = Json::array();
    for (const RoundReport* round : report.rounds.kept()) {
        const auto& [figures, decision] = *round;
        rounds.push_back(
            {{"round", figures.round},
             {"pages", figures.pages},
             {"normal", figures.normal_pages},
             {"bytes", figures.bytes},
             {"duration-us", figures.duration.count()},
             {"outage-us", figures.outage.count()},
             {"collect-us", figures.collect_time.count()},
             {"dirty-pages", figures.dirty_pages},
             {"dirty-pages-rate", static_cast<std::uint64_t>(figures.dirty_pages_per_second())},
             {"bandwidth", static_cast<std::uint64_t>(decision.bandwidth)},
             {"expected-downtime-us", decision.expected_downtime.count()},
             {"downtime-limit-us", decision.downtime_limit.count()},
             {"smallest-downtime-limit-us", decision.smallest_limit.count()},
             {"obstacle", std::string(name_of(decision.obstacle))},
             {"cpu-throttle-percentage", decision.cpu_throttle},
             {"stalled", decision.stalled},
             {"decision", std::string(name_of(decision.action))}});
    }
    return rounds;
}

// The sums of the rounds that are not listed; the listed rounds and these are all rounds.
Json left_out_json(const RoundTotals& totals) {
    return {{"rounds", totals.rounds},
            {"pages", totals.pages},
            {"normal", totals.normal_pages},
            {"bytes", totals.bytes},
            {"duration-us", totals.duration.count()},
            {"collect-us", totals.collect_time.count()}};
}

Json downtime_json(const DowntimeReport& downtime) {
    return {{"stop", downtime.stop.count()},       {"last-round", downtime.last_round.count()},
            {"devices", downtime.devices.count()}, {"state-save", downtime.state_save.count()},
            {"digest", downtime.digest.count()},   {"wire", downtime.wire.count()},
            {"load", downtime.load.count()},       {"resume", downtime.resume.count()}};
}

void add_downtime(Json& json, const Report& report) {
    const DowntimeReport& downtime = report.downtime;
    if (report.has_downtime()) {
        json["downtime"] = whole_ms(downtime.total);
        json["downtime-us"] = downtime.total.count();
        json["downtime-split-us"] = downtime_json(downtime);
    } else if (report.status != MigrationStatus::kCompleted && !report.rounds.empty()) {
        json["expected-downtime"] = whole_ms(report.expected_downtime);
    }
}

Json devices_json(const Report& report) {
    Json devices = Json::array();
    for (const DeviceReport& device : report.devices) {
        Json fields = {{"name", device.name},
                       {"kind", device.kind},
                       {"complete", device.complete},
                       {"bytes", device.bytes},
                       {"chunks", device.chunks}};
        fields[report.side == "send" ? "save-us" : "load-us"] =
            (report.side == "send" ? device.save : device.load).count();
        fields["config-us"] = device.config.count();
        fields["wait-us"] = device.wait.count();
        fields["wire-us"] = device.wire.count();
        fields["total-us"] = device.total.count();
        devices.push_back(std::move(fields));
    }
    return devices;
}

// Adds the fields that only a migration with devices has.
void add_devices(Json& json, const Report& report) {
    if (report.devices.empty()) return;
    json["devices"] = devices_json(report);
    if (report.side == "recv") json["device-state-buffer-peak"] = report.device_buffer_peak;
}

// Adds the fields that only a migration with a guest has.
void add_guest(Json& json, const Report& report) {
    if (!report.guest) return;
    const GuestReport& guest = *report.guest;
    if (report.side == "send") {
        json["cpu-throttle-percentage"] = guest.cpu_throttle;
        json["rounds"] = rounds_json(report);
        json["rounds-left-out"] = left_out_json(report.rounds.left_out());
    }
    Json& fields = json["guest"] = {{"kind", guest.kind}, {"state", guest.state}};
    if (!guest.method.empty()) fields["method"] = guest.method;
    if (!guest.dirty_tracker.empty()) fields["dirty-tracker"] = guest.dirty_tracker;
    if (guest.stood_still.count() != 0) fields["attach-us"] = guest.stood_still.count();
    const auto rate = [&](const char* name, double value) {
        if (value > 0) fields[name] = static_cast<std::uint64_t>(value);
    };
    rate("bytes-per-second-before", guest.rate_before);
    rate("bytes-per-second-during", guest.rate_during);
    rate("bytes-per-second-after", guest.rate_after);
    if (guest.cpu_before > 0) fields["vcpu-percent-before"] = guest.cpu_before;
    if (guest.cpu_during > 0) fields["vcpu-percent-during"] = guest.cpu_during;
    fields["longest-gap-us"] = guest.longest_gap.count();
    if (!guest.check.empty()) fields["check"] = guest.check;
}

Json channels_json(const Report& report) {
    Json channels = Json::array();
    for (const ChannelReport& channel : report.channels) {
        channels.push_back({{"name", channel.name},
                            {"bytes", channel.bytes},
                            {"payload-bytes", channel.payload_bytes},
                            {"device-bytes", channel.device_bytes},
                            {"packets", channel.packets},
                            {"pages", channel.pages.total()},
                            {"normal", channel.pages.normal},
                            {"duplicate", channel.pages.zero},
                            {"unpopulated", channel.pages.unpopulated}});
    }
    return channels;
}

Json multifd_json(const MultifdReport& report) {
    Json multifd = {{"channels", report.channels}};
    if (report.limited_by.empty()) return multifd;
    multifd["limited-by"] = report.limited_by;
    multifd["reason"] = report.reason;
    return multifd;
}

Json outages_json(const Report& report) {
    const OutageReport& outages = report.outages;
    Json json = {{"channels-lost", outages.channels_lost},
                 {"main-channel-lost", outages.main_channel_lost}};
    if (report.side != "send") return json;
    json["count"] = outages.outages;
    json["duration-us"] = outages.duration.count();
    json["pages-sent-again"] = outages.pages_sent_again;
    json["bytes-lost"] = outages.bytes_lost;
    return json;
}

Json zero_copy_json(const ZeroCopyReport& report) {
    Json zero_copy = {{"used", report.used},
                      {"sends", report.figures.sends},
                      {"completed", report.figures.completed},
                      {"copied", report.figures.copied},
                      {"refused", report.figures.refused}};
    if (!report.reason.empty()) zero_copy["reason"] = report.reason;
    return zero_copy;
}

Json checksums_json(const ChecksumReport& report) {
    Json checksums = {{"used", report.used}, {"packets", report.with}, {"without", report.without}};
    if (!report.reason.empty()) checksums["reason"] = report.reason;
    return checksums;
}

Json reuse_json(const ReuseReport& report) {
    return {{"digests", report.digests},
            {"pages", report.pages},
            {"bytes", report.bytes},
            {"time-us", report.time.count()}};
}

Json threads_json(const Report& report) {
    Json threads = Json::array();
    for (const ThreadTime& thread : report.threads) {
        threads.push_back(
            {{"name", thread.name}, {"run-time", static_cast<double>(thread.run_time_ns) / 1e6}});
    }
    return threads;
}

Json cpu_json(const CpuReport& cpu) {
    Json json = {{"affinity", cpu.affinity},
                 {"numa-groups", cpu.numa_groups},
                 {"host-cpus", cpu.host_cpus},
                 {"used-percent", cpu.used_percent()}};
    if (cpu.budget_percent == 0) return json;
    json["budget-percent"] = cpu.budget_percent;
    json["waited-us"] = cpu.use.waited.count();
    return json;
}

Json accel_counts_json(const accel::AccelCounts& counts) {
    const auto whole_us = [](std::chrono::nanoseconds time) { return time.count() / 1000; };
    return {{"batches", counts.batches},
            {"descriptors", counts.descriptors},
            {"retries", counts.retries},
            {"queue-full", counts.full},
            {"page-faults", counts.page_faults},
            {"list-faults", counts.list_faults},
            {"record-faults", counts.record_faults},
            {"bad-statuses", counts.bad_statuses},
            {"timeouts", counts.timeouts},
            {"late-pages", counts.late_pages},
            {"times-left", counts.times_left},
            {"cpu-pages", counts.cpu_pages},
            {"looked-at", counts.looked_at},
            {"prefiltered", counts.prefiltered},
            {"verified", counts.verified},
            {"device-time-us", whole_us(counts.device_time)},
            {"wait-time-us", whole_us(counts.wait_time)}};
}

Json accel_json(const accel::AccelReport& report) {
    Json accel = {{"device", report.software ? "software DSA" : "DSA"},
                  {"completion", name_of(report.completion)}};
    accel.update(accel_counts_json(report.total()));
    const auto tenths = [](double value) { return std::round(value * 10) / 10; };
    accel["share"] = {{"device-percent", tenths(report.share.device_part * 100)},
                      {"cpu-ns-per-page", tenths(report.share.cpu_ns)},
                      {"device-ns-per-page", tenths(report.share.device_ns)},
                      {"overhead-ns-per-page", tenths(report.share.overhead_ns)},
                      {"reason", report.share.reason}};
    accel["queues"] = Json::array();
    for (const accel::AccelQueueReport& queue : report.queues) {
        Json fields = {{"name", queue.name},           {"mode", queue.mode},
                       {"numa-node", queue.numa_node}, {"software", queue.software},
                       {"disabled", queue.disabled},   {"left", queue.left}};
        if (!queue.trouble.empty()) fields["trouble"] = queue.trouble;
        fields.update(accel_counts_json(queue.counts));
        accel["queues"].push_back(std::move(fields));
    }
    return accel;
}

Json security_json(const transport::SecurityInfo& security) {
    if (!security.is_encrypted()) return {{"mode", "plaintext"}};
    return {{"mode", security.credentials},
            {"protocol", security.protocol},
            {"cipher", security.cipher},
            {"peer", security.peer}};
}

Json document(const Report& report) {
    Json json = {{"side", report.side},
                 {"status", std::string(name_of(report.status))},
                 {"total-time", whole_ms(report.total_time)},
                 {"setup-time", whole_ms(report.setup_time)},
                 {"total-time-us", report.total_time.count()},
                 {"setup-time-us", report.setup_time.count()},
                 {"ram", ram_json(report)},
                 {"channels", channels_json(report)},
                 {"multifd", multifd_json(report.multifd)},
                 {"outages", outages_json(report)},
                 {"threads", threads_json(report)},
                 {"cpu", cpu_json(report.cpu)},
                 {"memory", report.memory}};
    if (report.progress && report.progress->time_left) {
        json["time-left"] = whole_ms(*report.progress->time_left);
    }
    if (report.zero_copy) json["zero-copy"] = zero_copy_json(*report.zero_copy);
    if (report.checksums) json["packet-checksum"] = checksums_json(*report.checksums);
    if (report.reuse.digests != 0) json["reuse"] = reuse_json(report.reuse);
    add_downtime(json, report);
    add_guest(json, report);
    add_devices(json, report);
    if (report.accel) json["accel"] = accel_json(*report.accel);
    if (report.outcome) json["outcome"] = name_of(*report.outcome);
    json["guest-owner"] = name_of(report.guest_owner);
    if (!report.error_desc.empty()) json["error-desc"] = report.error_desc;
    if (!report.peer.empty()) {
        json["peer"] = report.peer;
        json["security"] = security_json(report.security);
    }
    if (!report.digests.empty()) json["digests"] = report.digests;
    if (report.leg != 0) json["leg"] = report.leg;
    Json settings = Json::object();
    for (const auto& [key, value] : report.settings) settings[key] = value;
    json["settings"] = std::move(settings);
    return json;
}

std::string text_of(const Json& json) {
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace

std::string to_json(const Report& report) { return text_of(document(report)); }

std::string to_json(const std::vector<Report>& legs) {
    Json list = Json::array();
    for (const Report& leg : legs) list.push_back(document(leg));
    return text_of(list);
}

}  // namespace migrate::engine
