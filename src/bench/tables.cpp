// SPDX-License-Identifier: Apache-2.0
#include "bench/tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "base/config/unit_text.hpp"
#include "bench/figures.hpp"
#include "bench/goals.hpp"
#include "bench/scenario.hpp"
#include "bench/statistics.hpp"

namespace migrate::bench {
namespace {

using Row = std::vector<std::string>;
constexpr const char* kNone = "–";

struct Column {
    const char* title;
    const char* figure;
    int decimals;
    bool published = true;  // whether published tables of that kind have it
};

constexpr std::array<Column, 7> kLatency{{{"total time (ms)", "total-time", 0},
                                          {"downtime (ms)", "downtime", 1},
                                          {"throughput (mbps)", "mbps", 2},
                                          {"transferred-ram (kb)", "transferred-kb", 0},
                                          {"total-ram (kb)", "total-kb", 0},
                                          {"payload (bytes)", "payload", 0, false},
                                          {"headers (bytes)", "header", 0, false}}};
constexpr std::array<Column, 5> kThroughput{{{"total time (ms)", "total-time", 1},
                                             {"throughput (GiB/s)", "gb-per-s", 2},
                                             {"CPU sender (ms)", "send-cpu-ms", 0, false},
                                             {"CPU receiver (ms)", "recv-cpu-ms", 0, false},
                                             {"transferred (kb)", "transferred-kb", 0, false}}};
constexpr std::array<Column, 6> kLive{{{"total time (ms)", "total-time", 0},
                                       {"downtime (ms)", "downtime", 1},
                                       {"longest gap seen by the guest (ms)", "longest-gap", 1},
                                       {"rounds", "rounds", 0},
                                       {"throttle (%)", "throttle", 0},
                                       {"dirty rate before (MiB/s)", "dirty-mib-per-s", 0}}};
constexpr std::array<Column, 3> kMemory{
    {{"peak of the sender (MiB)", "send-peak-mib", 1, false},
     {"peak of the receiver (MiB)", "recv-peak-mib", 1, false},
     {"device state buffered (MiB)", "device-buffer-mib", 1, false}}};
constexpr std::array<int, 5> kPercents{0, 25, 50, 75, 95};

std::string published_text(double value, int decimals) {
    // Published whole numbers stay whole.
    return value == static_cast<double>(static_cast<long long>(value)) && decimals < 2
               ? fmt::format("{:.0f}", value)
               : fmt::format("{:.{}f}", value, decimals);
}

std::vector<const Json*> variants_of(const Json& scenario) {
    std::vector<const Json*> variants;
    for (const Json& variant : scenario.at("variants")) variants.push_back(&variant);
    return variants;
}

const Json* variant_named(const Json& scenario, std::string_view name) {
    for (const Json& variant : scenario.at("variants")) {
        if (text_at(variant, "name") == name) return &variant;
    }
    return nullptr;
}

std::string guest_text(const Json& variant) {
    return format_bytes(variant.value("guest", std::uint64_t{0}));
}

std::string published_title(const Json& scenario) {
    return fmt::format("Published ({})", text_at(scenario, "published-by", "no source given"));
}

bool any_published(const Json& scenario, const auto& columns) {
    for (const Json* variant : variants_of(scenario)) {
        if (!variant->contains("published")) continue;
        for (const Column& column : columns) {
            if (column.published && published_figure((*variant)["published"], column.figure))
                return true;
        }
    }
    return false;
}

Table published_table(const Json& scenario, const auto& columns) {
    Table table{published_title(scenario), {"variant"}, {}};
    for (const Column& column : columns) {
        if (column.published) table.header.emplace_back(column.title);
    }
    for (const Json* variant : variants_of(scenario)) {
        if (!variant->contains("published")) continue;
        Row row{text_at((*variant), "label")};
        bool any = false;
        for (const Column& column : columns) {
            if (!column.published) continue;
            const auto value = published_figure((*variant)["published"], column.figure);
            any = any || value.has_value();
            row.push_back(value ? published_text(*value, column.decimals) : kNone);
        }
        if (any) table.rows.push_back(std::move(row));
    }
    return table;
}

// Our median over the peer's, where the peer ran the same variant.
std::string ratio_to_peer(const Json& scenario, const Json& variant, const std::string& peer,
                          const char* name) {
    if (flag_at(variant, "peer")) return "";
    const auto ours = series(scenario, text_at(variant, "name"), name);
    const auto theirs = series(scenario, text_at(variant, "name") + "-" + peer, name);
    if (ours.empty() || theirs.empty() || median(theirs) <= 0) return kNone;
    const double ratio = median(ours) / median(theirs);
    return fmt::format("{:.{}f} ×", ratio, ratio < 0.1 ? 3 : 2);
}

// Name and version of each QEMU that ran variants of the scenario.
std::map<std::string, std::string> peers_of(const Json& scenario) {
    std::map<std::string, std::string> peers;
    for (const Json* ours : variants_of(scenario)) {
        for (const Json* theirs : variants_of(scenario)) {
            const std::string before = text_at(*ours, "name") + "-";
            const std::string name = text_at(*theirs, "name");
            if (!flag_at(*theirs, "peer") || !name.starts_with(before + "qemu")) continue;
            const std::string version = peer_version(scenario, name);
            if (!version.empty()) peers[name.substr(before.size())] = version;
        }
    }
    return peers;
}

Table measured_table(const Json& scenario, const auto& columns) {
    Table table{"Measured here", {"variant", "guest", "guest memory", "received into"}, {}};
    for (const Column& column : columns) table.header.emplace_back(column.title);
    const std::map<std::string, std::string> peers = peers_of(scenario);
    for (const auto& [name, version] : peers)
        table.header.insert(table.header.end(), {"time ÷ " + version, "CPU ÷ " + version});
    for (const Json* variant : variants_of(scenario)) {
        if (variant->contains("skipped")) continue;
        const std::string name = text_at(*variant, "name");
        Row row{text_at(*variant, "label"), guest_text(*variant), text_at(*variant, "backing"),
                text_at(*variant, "sink")};
        for (const Column& column : columns)
            row.push_back(spread_text(series(scenario, name, column.figure), column.decimals));
        for (const auto& [peer, version] : peers) {
            row.push_back(ratio_to_peer(scenario, *variant, peer, "total-time"));
            row.push_back(ratio_to_peer(scenario, *variant, peer, "cpu-ms"));
        }
        table.rows.push_back(std::move(row));
    }
    return table;
}

// A column of the tables of threads.
struct ThreadColumn {
    const Json* variant;
    ThreadMs threads;
    bool software = false;
    double total = 0;  // whole ms; of published columns, as printed
    std::optional<double> printed_saving{};
};

Row saving_row(const std::vector<ThreadColumn>& columns) {
    Row row{"saving, of the totals"};
    for (const ThreadColumn& column : columns) {
        const std::string base_name = text_at(*column.variant, "compare-to");
        const auto base =
            std::find_if(columns.begin(), columns.end(), [&](const ThreadColumn& other) {
                return text_at(*other.variant, "name") == base_name;
            });
        if (base_name.empty() || base == columns.end()) {
            row.emplace_back("");
        } else if (column.software || base->software) {
            row.emplace_back("none quoted: software device");
        } else {
            row.push_back(fmt::format("{:.1f} %", savings_percent(base->total, column.total)));
        }
    }
    return row;
}

Table thread_table(std::string title, const std::vector<ThreadColumn>& columns, bool measured) {
    Table table{std::move(title), {"thread, run time in ms"}, {}};
    Row size{"guest"};
    Row backing{"guest memory"};
    std::vector<std::string> names;
    Row total{"total (whole ms)"};
    for (const ThreadColumn& column : columns) {
        table.header.push_back(text_at(*column.variant, "label"));
        size.push_back(guest_text(*column.variant));
        backing.push_back(text_at(*column.variant, "backing"));
        total.push_back(fmt::format("{:.0f}", column.total));
        for (const auto& [name, ms] : column.threads) {
            if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
        }
    }
    if (measured) {
        table.rows.push_back(std::move(size));
        table.rows.push_back(std::move(backing));
    }
    for (const std::string& name : names) {
        Row row{name};
        for (const ThreadColumn& column : columns) {
            const auto found =
                std::find_if(column.threads.begin(), column.threads.end(),
                             [&](const auto& thread) { return thread.first == name; });
            row.push_back(found == column.threads.end() ? kNone
                                                        : fmt::format("{:.3f}", found->second));
        }
        table.rows.push_back(std::move(row));
    }
    table.rows.push_back(std::move(total));
    table.rows.push_back(saving_row(columns));
    Row printed{"saving, as printed"};
    bool any = false;
    for (const ThreadColumn& column : columns) {
        any = any || column.printed_saving.has_value();
        printed.push_back(column.printed_saving ? fmt::format("{:.0f} %", *column.printed_saving)
                                                : std::string());
    }
    if (any) table.rows.push_back(std::move(printed));
    return table;
}

void add_thread_tables(const Json& scenario, std::vector<Table>& tables) {
    std::vector<ThreadColumn> published;
    std::vector<ThreadColumn> measured;
    for (const Json* variant : variants_of(scenario)) {
        if (variant->contains("published")) {
            ThreadMs threads = threads_published((*variant)["published"]);
            const Json& printed = (*variant)["published"];
            const double total =
                published_figure(printed, "threads-total").value_or(total_of(threads));
            if (!threads.empty()) {
                published.push_back({variant, std::move(threads), false, total,
                                     published_figure(printed, "saving-printed")});
            }
        }
        if (const Json* run = median_run(scenario, text_at(*variant, "name"));
            run != nullptr && !flag_at(*variant, "peer")) {
            ThreadMs threads = threads_of_run(*run);
            const double total = total_of(threads);
            measured.push_back({variant, std::move(threads), by_software_device(*run), total});
        }
    }
    if (!published.empty())
        tables.push_back(thread_table(published_title(scenario), published, false));
    tables.push_back(
        thread_table("Measured here: CPU run time of the sender's threads, the run with the "
                     "median total",
                     measured, true));
}

template <typename Columns>
void add_tables(const Json& scenario, const Columns& columns, std::vector<Table>& tables) {
    if (any_published(scenario, columns)) tables.push_back(published_table(scenario, columns));
    tables.push_back(measured_table(scenario, columns));
}

// p25 of the compared variant over p25 of this one.
std::string speed_up(const Json& scenario, const Json& variant, const auto& p25_of) {
    const Json* base = variant_named(scenario, text_at(variant, "compare-to"));
    if (base == nullptr) return "";
    const double now = p25_of(variant);
    const double before = p25_of(*base);
    return now > 0 && before > 0 ? fmt::format("{:.2f} ×", before / now) : kNone;
}

void add_percentile_tables(const Json& scenario, std::vector<Table>& tables) {
    Table published{published_title(scenario), {"variant", "25 % (ms)", "speed-up"}, {}};
    Table measured{
        "Measured here: downtime in ms", {"variant", "guest", "guest memory", "runs"}, {}};
    for (const int percent : kPercents) measured.header.push_back(fmt::format("{} %", percent));
    measured.header.emplace_back("speed-up at 25 %");
    const auto p25_published = [](const Json& variant) {
        return variant.contains("published")
                   ? published_figure(variant["published"], "downtime-p25").value_or(0)
                   : 0;
    };
    const auto p25_measured = [&](const Json& variant) {
        return percentile(series(scenario, text_at(variant, "name"), "downtime"), 25);
    };
    for (const Json* variant : variants_of(scenario)) {
        if (const double p25 = p25_published(*variant); p25 > 0) {
            published.rows.push_back({text_at(*variant, "label"), published_text(p25, 0),
                                      speed_up(scenario, *variant, p25_published)});
        }
        if (variant->contains("skipped")) continue;
        const auto values = series(scenario, text_at(*variant, "name"), "downtime");
        Row row{text_at(*variant, "label"), guest_text(*variant), text_at(*variant, "backing"),
                fmt::format("{}", values.size())};
        for (const int percent : kPercents)
            row.push_back(values.empty() ? kNone
                                         : fmt::format("{:.1f}", percentile(values, percent)));
        row.push_back(speed_up(scenario, *variant, p25_measured));
        measured.rows.push_back(std::move(row));
    }
    if (!published.rows.empty()) tables.push_back(std::move(published));
    tables.push_back(std::move(measured));
}

}  // namespace

std::string spread_text(const std::vector<double>& values, int decimals) {
    if (values.empty()) return kNone;
    std::string text = fmt::format("{:.{}f}", median(values), decimals);
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    if (*least != *most)
        text += fmt::format(" ({:.{}f} … {:.{}f})", *least, decimals, *most, decimals);
    return text;
}

std::vector<Table> tables_of(const Json& scenario) {
    std::vector<Table> tables;
    for (const Json& name : scenario.at("tables")) {
        const auto kind = table_kind_named(name.get<std::string>());
        if (!kind) continue;
        switch (*kind) {
            case TableKind::kThreads:
                add_thread_tables(scenario, tables);
                break;
            case TableKind::kLatency:
                add_tables(scenario, kLatency, tables);
                break;
            case TableKind::kThroughput:
                add_tables(scenario, kThroughput, tables);
                break;
            case TableKind::kLive:
                add_tables(scenario, kLive, tables);
                break;
            case TableKind::kPercentiles:
                add_percentile_tables(scenario, tables);
                break;
            case TableKind::kMemory:
                add_tables(scenario, kMemory, tables);
                break;
        }
    }
    Table goals = goals_table(scenario);
    if (!goals.rows.empty()) tables.push_back(std::move(goals));
    return tables;
}

Table goals_table(const Json& scenario) {
    Table table{"Goals", {"goal", "wanted", "found", "outcome"}, {}};
    for (const Verdict& verdict : judge(scenario)) {
        table.rows.push_back(
            {verdict.words, verdict.wanted, verdict.found, std::string(word_of(verdict.state))});
    }
    return table;
}

std::vector<std::string> notes_of(const Json& scenario) {
    std::vector<std::string> notes;
    for (const Json& variant : scenario.at("variants")) {
        const std::string label = text_at(variant, "label");
        if (variant.contains("skipped"))
            notes.push_back(fmt::format("{}: skipped: {}", label, text_at(variant, "skipped")));
        for (const Json& note : variant.value("notes", Json::array()))
            notes.push_back(fmt::format("{}: {}", label, note.get<std::string>()));
        for (const Json* run : timed_runs(scenario, text_at(variant, "name"))) {
            const std::string peer_note = text_at(*run, "peer-note");
            if (run->contains("peer"))
                notes.push_back(fmt::format("{}: {}{}{}", label, text_at(*run, "peer"),
                                            peer_note.empty() ? "" : "; ", peer_note));
            break;
        }
    }
    for (const Json& run : scenario.at("runs")) {
        if (!run.contains("error")) continue;
        const std::string error = text_at(run, "error");
        notes.push_back(fmt::format("{}, turn {}: failed: {}", text_at(run, "variant"),
                                    run.value("turn", 0), error.substr(0, error.find('\n'))));
    }
    return notes;
}

Table host_table(const Json& results) {
    Table table{"Machine", {"what", "here"}, {}};
    const Json& host = results.at("host");
    const auto add = [&](const char* what, std::string value) {
        table.rows.push_back({what, std::move(value)});
    };
    add("CPU", fmt::format("{} × {}{}", host.value("cpus", 0), text_at(host, "cpu"),
                           flag_at(host, "virtual") ? ", virtual machine" : ""));
    add("memory", format_bytes(host.value("memory", std::uint64_t{0})));
    add("kernel", text_at(host, "kernel"));
    add("huge pages", fmt::format("anonymous {}, shared {}", text_at(host, "transparent-hugepage"),
                                  text_at(host, "shmem-hugepage")));
    add("DSA work queues", flag_at(host, "dsa") ? "yes" : "none");
    add("load at the start", fmt::format("{:.2f}", host.value("load", 0.0)));
    add("migrate", fmt::format("{}, commit {}, {}", text_at(host, "version"),
                               text_at(host, "commit"), text_at(host, "build")));
    const Json& mode = results.at("mode");
    add("mode", fmt::format("{}, sizes × {}, peer {}", flag_at(mode, "quick") ? "quick" : "full",
                            mode.value("scale", 1.0), text_at(mode, "peer")));
    add("network", "loopback, sender and receiver on the same machine");
    add("started", text_at(results, "started"));
    return table;
}

}  // namespace migrate::bench
