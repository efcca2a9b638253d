// SPDX-License-Identifier: Apache-2.0
#include "cli/monitoring/metrics.hpp"

#include <prometheus/text_serializer.h>

#include <chrono>
#include <cstdint>
#include <sstream>
#include <utility>

#include "base/version.hpp"

namespace migrate::cli {
namespace {

using engine::Report;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

double seconds(std::chrono::microseconds time) {
    return std::chrono::duration<double>(time).count();
}

double number(std::uint64_t value) { return static_cast<double>(value); }

class FamilyList {
  public:
    // `common` are labels of every metric.
    explicit FamilyList(Labels common) : common_(std::move(common)) {}

    void gauge(std::string_view name, std::string_view help, double value, Labels labels = {}) {
        begin(MetricType::Gauge, name, help);
        add(value, std::move(labels));
    }
    void counter(std::string_view name, std::string_view help, double value) {
        begin(MetricType::Counter, name, help);
        add(value, {});
    }

    // Begins a family of gauges, which add() fills.
    void begin(MetricType type, std::string_view name, std::string_view help) {
        MetricFamily family;
        family.name = name;
        family.help = help;
        family.type = type;
        families_.push_back(std::move(family));
    }
    // Adds a metric to the family that began last.
    void add(double value, Labels labels) {
        ClientMetric metric;
        metric.label = common_;
        metric.label.insert(metric.label.end(), std::make_move_iterator(labels.begin()),
                            std::make_move_iterator(labels.end()));
        if (families_.back().type == MetricType::Counter) {
            metric.counter.value = value;
        } else {
            metric.gauge.value = value;
        }
        families_.back().metric.push_back(std::move(metric));
    }

    // One gauge for each value of an enum: 1 for `current`, 0 for the others.
    template <typename Enum>
    void states(std::string_view name, std::string_view help, const std::string& label,
                Enum current) {
        begin(MetricType::Gauge, name, help);
        for (const auto& [value, text] : enum_names(Enum{})) {
            add(value == current ? 1 : 0, {{label, std::string(text)}});
        }
    }

    MetricFamilies take() { return std::move(families_); }

  private:
    Labels common_;
    MetricFamilies families_;
};

void add_state(FamilyList& list, const Report& report) {
    const std::string security =
        report.security.is_encrypted() ? report.security.credentials : "plaintext";
    list.gauge("migrate_info", "The migration, by its labels; the value is always 1.", 1,
               {{"version", kVersion},
                {"memory", report.memory},
                {"peer", report.peer},
                {"security", report.peer.empty() ? "" : security}});
    list.states("migrate_status",
                "QEMU's MigrationStatus: 1 for the present one, 0 for the others.", "status",
                report.status);
    list.states("migrate_guest_owner",
                "The side that has the guest, as far as this side knows: 1 for it, 0 for the "
                "others.",
                "owner", report.guest_owner);
    if (!report.outcome) return;
    list.begin(MetricType::Gauge, "migrate_outcome",
               "The outcome of the migration once it has ended: 1 for it, 0 for the others.");
    for (const OutcomeRow& row : kOutcomes) {
        if (row.outcome == Outcome::kGoalMissed) continue;
        list.add(row.outcome == *report.outcome ? 1 : 0, {{"outcome", std::string(row.word)}});
    }
}

void add_times(FamilyList& list, const Report& report) {
    list.gauge("migrate_total_time_seconds", "Time since the command started, or until its end.",
               seconds(report.total_time));
    list.gauge("migrate_setup_time_seconds", "The part of the total time before the first page.",
               seconds(report.setup_time));
    if (!report.progress || !report.progress->time_left) return;
    list.gauge("migrate_time_left_seconds",
               "Expected time until all memory is sent; absent if there is no end in sight.",
               seconds(*report.progress->time_left));
}

void add_memory(FamilyList& list, const Report& report) {
    list.gauge("migrate_ram_size_bytes", "Size of the memory (QEMU: ram.total).",
               number(report.total_bytes));
    if (!is_final(report.status)) {
        list.gauge("migrate_ram_remaining_bytes",
                   "Memory that is still to be sent; with a guest, the rest of the round.",
                   number(report.remaining_bytes()));
    }
    list.counter("migrate_ram_transferred_bytes_total",
                 "Bytes from sender to receiver over all channels, with headers.",
                 number(report.transferred));
    list.begin(MetricType::Gauge, "migrate_ram_pages",
               "Pages sent or placed so far, by kind. A lost channel takes back what did not "
               "arrive.");
    list.add(number(report.pages.normal), {{"kind", "normal"}});
    list.add(number(report.pages.zero), {{"kind", "duplicate"}});
    list.add(number(report.pages.unpopulated), {{"kind", "unpopulated"}});
    list.add(number(report.reuse.pages), {{"kind", "reused"}});
    list.gauge("migrate_ram_page_size_bytes", "Size of a page.", number(kPageSize));
    if (!report.progress) return;
    list.gauge("migrate_ram_bytes_per_second",
               "Bytes sent per second, averaged over two seconds (QEMU: ram.mbps).",
               report.progress->speed.bytes);
    list.gauge("migrate_ram_pages_per_second",
               "Pages done per second, averaged over two seconds (QEMU: ram.pages-per-second).",
               report.progress->speed.pages);
}

void add_channels(FamilyList& list, const Report& report) {
    list.gauge("migrate_multifd_channels", "Data channels.", report.multifd.channels);
    list.counter("migrate_channels_lost_total", "Data channels that were lost.",
                 report.outages.channels_lost);
    list.counter("migrate_main_channel_lost_total", "How often the main channel was lost.",
                 number(report.outages.main_channel_lost));
    list.counter("migrate_outage_seconds_total",
                 "Time without a main channel or without any data channel (sender).",
                 seconds(report.outages.duration));
    list.gauge("migrate_cpu_used_ratio", "Share of the host's CPU time that this side uses.",
               report.cpu.used_percent() / 100);
}

// The figures of a guest; the sender alone knows the rounds.
void add_guest(FamilyList& list, const Report& report) {
    if (!report.guest) return;
    list.gauge("migrate_round", "The last round that began.", report.round);
    if (report.side == "send") {
        list.counter("migrate_ram_dirty_sync_total", "Rounds (QEMU: ram.dirty-sync-count).",
                     number(report.rounds.size()));
        list.gauge("migrate_cpu_throttle_ratio",
                   "Share of its CPU time that the guest loses (QEMU: cpu-throttle-percentage).",
                   report.guest->cpu_throttle / 100.0);
    }
    if (report.rounds.empty()) return;
    const auto& [figures, decision] = report.rounds.back();
    list.gauge("migrate_ram_dirty_pages_per_second",
               "Pages that the guest wrote per second in the last round (QEMU: "
               "ram.dirty-pages-rate).",
               figures.dirty_pages_per_second());
    list.gauge("migrate_expected_downtime_seconds",
               "Downtime if the guest were paused now (QEMU: expected-downtime).",
               seconds(report.expected_downtime));
    list.gauge("migrate_downtime_limit_seconds",
               "The downtime limit at the end of the last round (QEMU: downtime-limit).",
               seconds(decision.downtime_limit));
    list.gauge("migrate_stalled", "1 if more rounds do not help, 0 otherwise.",
               decision.stalled ? 1 : 0);
}

void add_downtime(FamilyList& list, const Report& report) {
    if (!report.has_downtime()) return;
    const engine::DowntimeReport& downtime = report.downtime;
    list.gauge("migrate_downtime_seconds", "How long the guest was paused.",
               seconds(downtime.total));
    list.begin(MetricType::Gauge, "migrate_downtime_part_seconds",
               "The downtime by cause; the sender's parts add up to the whole.");
    for (const engine::DowntimePart& part : engine::kDowntimeParts) {
        list.add(seconds(downtime.*part.time), {{"part", std::string(part.key)}});
    }
}

}  // namespace

MetricFamilies metric_families(const Report& report, std::string_view guest) {
    FamilyList list({{"side", report.side}, {"guest", std::string(guest)}});
    add_state(list, report);
    add_times(list, report);
    add_memory(list, report);
    add_channels(list, report);
    add_guest(list, report);
    add_downtime(list, report);
    return list.take();
}

std::string metrics_text(const MetricFamilies& families) {
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, families);
    return text.str();
}

}  // namespace migrate::cli
