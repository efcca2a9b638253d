// SPDX-License-Identifier: Apache-2.0
#include "engine/recv/recv_report.hpp"

#include "engine/devices/device_receiver.hpp"
#include "engine/peer_link.hpp"
#include "engine/postcopy/postcopy_sink.hpp"
#include "engine/recv/guest_arrival.hpp"
#include "engine/recv/recv_channel_group.hpp"
#include "engine/report/session_report.hpp"

namespace migrate::engine {
namespace {

GuestReport guest_report(const RecvFigures& figures) {
    const guest::Guest* guest = figures.guest;
    GuestReport report{.kind = figures.offer.guest,
                       .state = figures.fate != GuestFate::kRuns        ? "inmigrate"
                                : guest != nullptr && !guest->running() ? "paused"
                                                                        : "running"};
    if (guest != nullptr) report.longest_gap = guest->activity().longest_gap;
    return report;
}

}  // namespace

Report make_recv_report(const RecvConfig& config, const SessionCore& core,
                        const RecvFigures& figures) {
    Report report;
    report.side = "recv";
    core.fill(report, figures.session);
    report.guest_owner = owner_of(figures);
    report.memory = config.sink;
    for (const auto& [key, text] : config.security.options) set_value(report.settings, key, text);
    const transport::Offer& offer = figures.offer;
    if (figures.link != nullptr) {
        set_values(report.settings, offer.settings.report());
        set_value(report.settings, "multifd-device-state",
                  std::string(figures.device_state ? "on" : "off"));
        report.total_bytes = total_bytes(offer.regions);
        report.peer = figures.link->peer_name();
        report.security = figures.link->security();
        add_channel(report, main_channel_report(figures.link->bytes_received()));
    }
    if (figures.channels != nullptr) figures.channels->fill(report);
    if (figures.postcopy != nullptr) add_postcopy(report, figures.postcopy->report());
    report.digests = figures.digests;
    report.reuse = figures.reuse;
    if (figures.devices != nullptr) {
        report.devices = figures.devices->report();
        report.device_buffer_peak = figures.devices->peak_bytes();
    }
    report.planned_pages = figures.planned_pages;
    report.postponed_pages = figures.postponed_pages;
    report.round = figures.round;
    report.round_pages = figures.round_pages;
    if (!offer.guest.empty()) {
        report.downtime = figures.downtime;
        report.guest = guest_report(figures);
        report.dirty_rate = static_cast<double>(figures.dirty_rate);
        const bool began = figures.round_began != std::chrono::steady_clock::time_point{};
        if (began) {
            report.uncollected = std::chrono::duration_cast<Microseconds>(
                std::chrono::steady_clock::now() - figures.round_began);
        }
    }
    core.fill_progress(report, figures.session);
    return report;
}

}  // namespace migrate::engine
