#include "bench/figures.hpp"

#include <algorithm>
#include <cmath>

#include "base/units.hpp"

namespace migrate::bench {
namespace {

// The number at the end of a path of keys.
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

std::optional<double> divided(std::optional<double> value, double by) {
    return value ? std::optional(*value / by) : std::nullopt;
}

// In µs where the program says it so, as QEMU's whole ms otherwise.
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

// Where a thread stands in the published tables.
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

std::optional<double> figure(const Json& run, std::string_view name) {
    if (name == "total-time") return ms_at(run, "total-time-us", "total-time");
    if (name == "downtime") return ms_at(run, "downtime-us", "downtime");
    if (name == "mbps") return number_at(run, {"send", "ram", "mbps"});
    if (name == "transferred-kb")
        return divided(number_at(run, {"send", "ram", "transferred"}), kKiB);
    if (name == "total-kb") return divided(number_at(run, {"send", "ram", "total"}), kKiB);
    if (name == "payload") return number_at(run, {"send", "ram", "payload-bytes"});
    if (name == "header") return number_at(run, {"send", "ram", "header-bytes"});
    if (name == "gb-per-s") return gb_per_s(run);
    if (name == "cpu-ms") return both_cpu(run);
    if (name == "send-cpu-ms") return number_at(run, {"cpu-ms", "send"});
    if (name == "recv-cpu-ms") return number_at(run, {"cpu-ms", "recv"});
    if (name == "rounds") return rounds(run);
    if (name == "throttle") return throttle(run);
    if (name == "longest-gap")
        return divided(number_at(run, {"recv", "guest", "longest-gap-us"}), 1e3);
    if (name == "dirty-mib-per-s")
        return divided(number_at(run, {"send", "guest", "bytes-per-second-before"}), kMiB);
    return std::nullopt;
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

}  // namespace migrate::bench
