// SPDX-License-Identifier: Apache-2.0
#include "engine/send/send_report.hpp"

#include "engine/devices/device_sender.hpp"
#include "engine/peer_link.hpp"
#include "engine/postcopy/postcopy_source.hpp"
#include "engine/report/session_report.hpp"
#include "engine/send/send_channel_group.hpp"

namespace migrate::engine {
namespace {

SettingValues settings_of(const SendFixed& fixed, const SendFigures& figures) {
    const SendConfig& config = fixed.config;
    SettingValues settings = config.negotiated.report();
    set_value(settings, "zero-page-detection", std::string(name_of(config.detection)));
    set_value(settings, "zero-kernel", fixed.scanners.kernel_name());
    set_value(settings, "skip-unpopulated", config.skip_unpopulated);
    set_values(settings, tunable_values(figures.tunables));
    for (const auto& [key, text] : config.security.options) set_value(settings, key, text);
    if (figures.sink.empty()) return settings;
    set_value(settings, "sink", figures.sink);
    set_value(settings, "multifd-device-state", std::string(figures.device_state ? "on" : "off"));
    return settings;
}

// The CPU time of the vCPUs between two samples, in percent of one CPU; 0 if it is not known.
double cpu_percent(const GuestCpuSample& from, const GuestCpuSample& to) {
    const double passed = std::chrono::duration<double>(to.at - from.at).count();
    if (!from.cpu || !to.cpu || passed <= 0) return 0;
    return 100 * std::chrono::duration<double>(*to.cpu - *from.cpu).count() / passed;
}

GuestReport guest_report(const LiveSource& live, const SendFigures& figures) {
    const guest::Activity now = live.activity();
    const bool tracked = figures.before.run_time.count() != 0;
    const bool paused = figures.paused.run_time.count() != 0;
    GuestReport guest{.kind = std::string(live.guest_kind()),
                      .state = figures.guest_state,
                      .method = std::string(live.guest_method()),
                      .dirty_tracker = std::string(live.tracker().name()),
                      .stood_still = live.tracker().stood_still(),
                      .cpu_throttle = figures.cpu_throttle};
    guest.rate_before = bytes_per_second({}, tracked ? figures.before : now);
    if (tracked) {
        guest.rate_during = bytes_per_second(figures.before, paused ? figures.paused : now);
    }
    guest.cpu_before = cpu_percent(figures.cpu_opened, figures.cpu_before);
    guest.cpu_during = cpu_percent(figures.cpu_before, figures.cpu_during);
    guest.longest_gap = now.longest_gap;
    return guest;
}

void fill_guest(Report& report, const LiveSource& live, const SendFigures& figures) {
    report.rounds = figures.rounds;
    report.dirty_pages = figures.dirty_pages;
    if (!report.rounds.empty()) {
        report.expected_downtime = report.rounds.back().decision.expected_downtime;
    }
    report.guest = guest_report(live, figures);
    report.dirty_rate = report.guest->rate_during / static_cast<double>(kPageSize);
    const bool tracked = figures.collected != std::chrono::steady_clock::time_point{};
    if (tracked) {
        report.uncollected = std::chrono::duration_cast<Microseconds>(
            std::chrono::steady_clock::now() - figures.collected);
    }
}

}  // namespace

Report make_send_report(const SendFixed& fixed, const SendFigures& figures) {
    Report report;
    report.side = "send";
    fixed.core.fill(report, figures.session);
    report.guest_owner = figures.owner;
    report.memory = fixed.source.description();
    report.settings = settings_of(fixed, figures);
    report.total_bytes = total_bytes(fixed.source.regions());
    if (figures.link != nullptr) {
        report.peer = figures.link->peer_name();
        report.security = figures.link->security();
        add_channel(report, main_channel_report(figures.link->bytes_sent()));
    }
    if (figures.channels != nullptr) figures.channels->fill(report);
    if (figures.postcopy != nullptr) add_postcopy(report, figures.postcopy->report());
    if (figures.channel_limit) {
        report.multifd.limited_by = migrate::name_of(*figures.channel_limit);
        report.multifd.reason = figures.channel_reason;
    }
    if (figures.devices != nullptr) report.devices = figures.devices->report();
    report.digests = figures.digests;
    report.reuse = figures.reuse;
    report.downtime = figures.downtime;
    report.planned_pages = figures.planned_pages;
    report.accel = fixed.scanners.accel_report();
    report.round = figures.round;
    report.round_pages = figures.round_pages;
    if (fixed.live != nullptr) fill_guest(report, *fixed.live, figures);
    fixed.core.fill_progress(report, figures.session);
    return report;
}

}  // namespace migrate::engine
