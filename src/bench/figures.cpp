// SPDX-License-Identifier: Apache-2.0
#include "bench/figures.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/units.hpp"

namespace migrate::bench {
namespace {

std::optional<double> divided(std::optional<double> value, double by) {
    return value ? std::optional(*value / by) : std::nullopt;
}

// migrate reports µs, QEMU only whole ms.
std::optional<double> ms_at(const Json& run, const char* us, const char* ms) {
    const auto exact = divided(number_at(run, {"send", us}), 1e3);
    return exact ? exact : number_at(run, {"send", ms});
}

std::optional<double> gb_per_s(const Json& run) {
    const auto bytes = number_at(run, {"send", "ram", "total"});
    const auto ms = figure(run, "total-time");
    if (!bytes || !ms || *ms <= 0) return std::nullopt;
    return *bytes / static_cast<double>(kGiB) / *ms * 1e3;
}

std::optional<double> both_cpu(const Json& run) {
    const auto send = number_at(run, {"cpu-ms", "send"});
    const auto recv = number_at(run, {"cpu-ms", "recv"});
    return send && recv ? std::optional(*send + *recv) : std::nullopt;
}

std::optional<double> throttle(const Json& run) {
    const auto send = run.find("send");
    if (send == run.end() || !send->contains("rounds")) return std::nullopt;
    double most = 0;
    for (const Json& round : (*send)["rounds"])
        most = std::max(most, round.value("cpu-throttle-percentage", 0.0));
    return most;
}

std::optional<double> rounds(const Json& run) {
    const auto send = run.find("send");
    if (send == run.end() || !send->contains("rounds")) return std::nullopt;
    const auto left_out = number_at(run, {"send", "rounds-left-out", "rounds"});
    return static_cast<double>((*send)["rounds"].size()) + left_out.value_or(0);
}

// CPU run time in ms of that side's threads, without what the process did before and after.
std::optional<double> threads_ms(const Json& run, const char* side) {
    const auto report = run.find(side);
    if (report == run.end() || !report->is_object() || !report->contains("threads")) {
        return std::nullopt;
    }
    double ms = 0;
    for (const Json& thread : (*report)["threads"]) ms += thread.value("run-time", 0.0);
    return ms;
}

// Time of the last round, with the devices' state that shares its channels.
std::optional<double> last_round(const Json& run) {
    const auto memory = number_at(run, {"send", "downtime-split-us", "last-round"});
    const auto devices = number_at(run, {"send", "downtime-split-us", "devices"});
    return memory && devices ? std::optional((*memory + *devices) / 1e3) : std::nullopt;
}

// The guest's own rate of writing during the rounds, over its rate before them.
std::optional<double> write_rate_kept(const Json& run) {
    const auto before = number_at(run, {"send", "guest", "bytes-per-second-before"});
    const auto during = number_at(run, {"send", "guest", "bytes-per-second-during"});
    return before && during && *before > 0 ? std::optional(*during / *before) : std::nullopt;
}

constexpr auto kFigures = std::to_array<FigureRow>({
    {"total-time", "total time", "ms", false,
     [](const Json& run) { return ms_at(run, "total-time-us", "total-time"); }},
    {"downtime", "downtime", "ms", false,
     [](const Json& run) { return ms_at(run, "downtime-us", "downtime"); }},
    {"last-round", "last round", "ms", false, last_round},
    {"longest-gap", "longest gap", "ms", false,
     [](const Json& run) {
         return divided(number_at(run, {"recv", "guest", "longest-gap-us"}), 1e3);
     }},
    {"gb-per-s", "throughput", "GiB/s", true, gb_per_s},
    {"mbps", "throughput on the wire", "Mbit/s", true,
     [](const Json& run) {
         return number_at(run, {"send", "ram", "mbps"});
     }},
    {"transferred-kb", "data transferred", "KiB", false,
     [](const Json& run) {
         return divided(number_at(run, {"send", "ram", "transferred"}), kKiB);
     }},
    {"total-kb", "size of the memory", "KiB", false,
     [](const Json& run) {
         return divided(number_at(run, {"send", "ram", "total"}), kKiB);
     }},
    {"payload", "page content sent", "bytes", false,
     [](const Json& run) {
         return number_at(run, {"send", "ram", "payload-bytes"});
     }},
    {"header", "headers sent", "bytes", false,
     [](const Json& run) {
         return number_at(run, {"send", "ram", "header-bytes"});
     }},
    {"cpu-ms", "CPU time of both sides", "ms", false, both_cpu},
    {"send-cpu-ms", "sender's CPU time", "ms", false,
     [](const Json& run) {
         return number_at(run, {"cpu-ms", "send"});
     }},
    {"recv-cpu-ms", "receiver's CPU time", "ms", false,
     [](const Json& run) {
         return number_at(run, {"cpu-ms", "recv"});
     }},
    {"send-threads-ms", "CPU time of the sender's threads", "ms", false,
     [](const Json& run) { return threads_ms(run, "send"); }},
    {"recv-threads-ms", "CPU time of the receiver's threads", "ms", false,
     [](const Json& run) { return threads_ms(run, "recv"); }},
    {"send-peak-mib", "sender's peak memory", "MiB", false,
     [](const Json& run) {
         return divided(number_at(run, {"peak-memory", "send"}), kMiB);
     }},
    {"recv-peak-mib", "receiver's peak memory", "MiB", false,
     [](const Json& run) {
         return divided(number_at(run, {"peak-memory", "recv"}), kMiB);
     }},
    {"device-buffer-mib", "device state buffered", "MiB", false,
     [](const Json& run) {
         return divided(number_at(run, {"recv", "device-state-buffer-peak"}), kMiB);
     }},
    {"rounds", "number of rounds", "", false, rounds},
    {"throttle", "throttle", "%", false, throttle},
    {"dirty-mib-per-s", "guest's rate of writing", "MiB/s", false,
     [](const Json& run) {
         return divided(number_at(run, {"send", "guest", "bytes-per-second-before"}), kMiB);
     }},
    {"write-rate-kept", "part of its rate of writing that the guest kept", "", true,
     write_rate_kept},
});

// The place of a thread in the published tables.
std::pair<int, int> rank_of(const std::string& name) {
    if (name == "live_migration") return {0, 0};
    constexpr std::string_view kChannel = "multifdsend_";
    if (name.starts_with(kChannel)) return {1, std::atoi(name.c_str() + kChannel.size())};
    if (name == "dsa_completion") return {2, 0};
    return {3, 0};
}

ThreadMs in_order(ThreadMs threads) {
    std::stable_sort(threads.begin(), threads.end(), [](const auto& a, const auto& b) {
        return rank_of(a.first) < rank_of(b.first);
    });
    return threads;
}

}  // namespace

std::span<const FigureRow> figure_rows() { return kFigures; }

const FigureRow* find_figure(std::string_view name) {
    const auto* found = std::find_if(kFigures.begin(), kFigures.end(),
                                     [&](const FigureRow& row) { return row.name == name; });
    return found == kFigures.end() ? nullptr : found;
}

std::optional<double> figure(const Json& run, std::string_view name) {
    const FigureRow* row = find_figure(name);
    return row == nullptr ? std::nullopt : row->of(run);
}

std::optional<double> number_at(const Json& json, std::initializer_list<const char*> keys) {
    const Json* at = &json;
    for (const char* key : keys) {
        if (!at->is_object()) return std::nullopt;
        const auto found = at->find(key);
        if (found == at->end()) return std::nullopt;
        at = &*found;
    }
    return at->is_number() ? std::optional(at->get<double>()) : std::nullopt;
}

std::optional<double> published_figure(const Json& published, std::string_view name) {
    if (!published.is_object()) return std::nullopt;
    return number_at(published, {std::string(name).c_str()});
}

std::vector<const Json*> timed_runs(const Json& scenario, std::string_view variant) {
    std::vector<const Json*> found;
    for (const Json& run : scenario.at("runs")) {
        if (text_at(run, "variant") == variant && !flag_at(run, "warm-up") &&
            !run.contains("error"))
            found.push_back(&run);
    }
    return found;
}

std::vector<double> series(const Json& scenario, std::string_view variant, std::string_view name) {
    std::vector<double> values;
    for (const Json* run : timed_runs(scenario, variant)) {
        if (const auto legs = run->find("legs"); legs != run->end()) {
            for (const Json& leg : *legs) {
                if (const auto value = figure({{"send", leg}}, name)) values.push_back(*value);
            }
        } else if (const auto value = figure(*run, name)) {
            values.push_back(*value);
        }
    }
    return values;
}

ThreadMs threads_of_run(const Json& run) {
    ThreadMs threads;
    const auto send = run.find("send");
    if (send == run.end() || !send->contains("threads")) return threads;
    for (const Json& thread : (*send)["threads"]) {
        threads.emplace_back(text_at(thread, "name"), thread.value("run-time", 0.0));
    }
    return in_order(std::move(threads));
}

ThreadMs threads_published(const Json& published) {
    ThreadMs threads;
    if (!published.is_object() || !published.contains("threads")) return threads;
    for (const auto& [name, time] : published["threads"].items())
        threads.emplace_back(name, time.get<double>());
    return in_order(std::move(threads));
}

double total_of(const ThreadMs& threads) {
    double total = 0;
    for (const auto& [name, ms] : threads) total += std::floor(ms);
    return total;
}

const Json* median_run(const Json& scenario, std::string_view variant) {
    std::vector<const Json*> runs = timed_runs(scenario, variant);
    if (runs.empty()) return nullptr;
    std::stable_sort(runs.begin(), runs.end(), [](const Json* a, const Json* b) {
        return total_of(threads_of_run(*a)) < total_of(threads_of_run(*b));
    });
    return runs[(runs.size() - 1) / 2];
}

bool by_software_device(const Json& run) {
    const auto send = run.find("send");
    if (send == run.end() || !send->contains("accel")) return false;
    return text_at((*send)["accel"], "device") != "DSA";
}

std::string peer_version(const Json& scenario, std::string_view variant) {
    const std::vector<const Json*> runs = timed_runs(scenario, variant);
    return runs.empty() ? std::string() : text_at(*runs.front(), "peer");
}

}  // namespace migrate::bench
