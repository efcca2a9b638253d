// SPDX-License-Identifier: Apache-2.0
#include "cli/monitoring/running_migration.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/progress.hpp"
#include "engine/path_config.hpp"

namespace migrate::cli {
namespace {

using Json = nlohmann::ordered_json;

// Seven texts of this length, escaped, and the numbers fit kMostEntryBytes.
constexpr std::size_t kMostTextBytes = 80;
constexpr std::size_t kMostMemoryBytes = 200;

std::string printable(std::string text) {
    const auto is_control = [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < 0x20 || byte == 0x7F;
    };
    std::replace_if(text.begin(), text.end(), is_control, '?');
    return text;
}

std::string cut(std::string text, std::size_t most = kMostTextBytes) {
    if (text.size() > most) text = text.substr(0, most - 3) + "...";
    return printable(std::move(text));
}

// The member with this key, or `value` if there is none of that type.
void read(const Json& json, const char* key, std::string& value) {
    const auto found = json.find(key);
    if (found != json.end() && found->is_string()) value = found->get<std::string>();
}
template <typename Integer>
void read(const Json& json, const char* key, Integer& value) {
    const auto found = json.find(key);
    if (found != json.end() && found->is_number_integer()) value = found->get<Integer>();
}

std::string addresses_of(const Settings& settings) {
    const auto paths = engine::make_paths(settings);
    return paths ? engine::paths_text(*paths) : std::string();
}

}  // namespace

RunningMigration running_here(const Settings& settings, const engine::Report& report,
                              std::string metrics) {
    const bool sends = settings.side() == Side::kSend;
    RunningMigration running;
    running.pid = ::getpid();
    running.side = sends ? "send" : "recv";
    running.guest = settings.get<"guest-name">();
    running.memory = sends ? settings.get<"source">() : settings.get<"sink">();
    running.address = sends ? addresses_of(settings) : settings.get<"listen">();
    running.peer = report.peer;
    running.status = name_of(report.status);
    running.progress = status_text(report);
    running.round = report.round;
    running.total = report.total_bytes;
    running.remaining = is_final(report.status) ? 0 : report.remaining_bytes();
    running.transferred = report.transferred;
    running.total_time_ms = static_cast<std::uint64_t>(engine::whole_ms(report.total_time));
    if (report.progress) {
        running.bytes_per_second = static_cast<std::uint64_t>(report.progress->speed.bytes);
        if (report.progress->time_left) {
            running.time_left_ms =
                static_cast<std::uint64_t>(engine::whole_ms(*report.progress->time_left));
        }
    }
    running.metrics = std::move(metrics);
    running.qmp = settings.get<"qmp">();
    return running;
}

std::string to_json(const RunningMigration& running) {
    Json json = {{"pid", running.pid},
                 {"side", running.side},
                 {"guest-name", cut(running.guest)},
                 {"memory", cut(running.memory, kMostMemoryBytes)},
                 {"address", cut(running.address)},
                 {"peer", cut(running.peer)},
                 {"status", running.status},
                 {"progress", cut(running.progress)},
                 {"pass", running.round},
                 {"total", running.total},
                 {"remaining", running.remaining},
                 {"transferred", running.transferred},
                 {"bytes-per-second", running.bytes_per_second},
                 {"total-time", running.total_time_ms}};
    if (running.time_left_ms) json["time-left"] = *running.time_left_ms;
    if (!running.metrics.empty()) json["metrics"] = cut(running.metrics);
    if (!running.qmp.empty()) json["qmp"] = cut(running.qmp, kMostMemoryBytes);
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<RunningMigration> parse_running(std::string_view text) {
    const Json json = Json::parse(text, nullptr, false);
    if (!json.is_object()) return std::nullopt;
    RunningMigration running;
    read(json, "pid", running.pid);
    read(json, "side", running.side);
    if (running.pid <= 0 || (running.side != "send" && running.side != "recv")) return std::nullopt;
    read(json, "guest-name", running.guest);
    read(json, "memory", running.memory);
    read(json, "address", running.address);
    read(json, "peer", running.peer);
    read(json, "status", running.status);
    read(json, "progress", running.progress);
    read(json, "pass", running.round);
    read(json, "total", running.total);
    read(json, "remaining", running.remaining);
    read(json, "transferred", running.transferred);
    read(json, "bytes-per-second", running.bytes_per_second);
    read(json, "total-time", running.total_time_ms);
    if (json.contains("time-left")) read(json, "time-left", running.time_left_ms.emplace());
    read(json, "metrics", running.metrics);
    read(json, "qmp", running.qmp);
    return running;
}

std::string to_line(const RunningMigration& running) {
    const bool sends = running.side == "send";
    const std::string where = !running.peer.empty()
                                  ? fmt::format("{} {}", sends ? "to" : "from", running.peer)
                                  : fmt::format("{} {}", sends ? "to" : "on", running.address);
    const std::string guest = running.guest.empty() ? "" : fmt::format("  {}", running.guest);
    return printable(fmt::format("{}  {}{}  {}  {}  {}", running.pid, running.side, guest,
                                 running.progress, running.memory, where)) +
           '\n';
}

}  // namespace migrate::cli
