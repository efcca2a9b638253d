// SPDX-License-Identifier: Apache-2.0
#include "bench/results.hpp"

#include <algorithm>
#include <chrono>

#include "base/replacement_file.hpp"
#include "base/utc_text.hpp"
#include "bench/host.hpp"
#include "bench/transfer.hpp"

namespace migrate::bench {
namespace {

constexpr int kFormat = 1;

Json mode_json(const Mode& mode) {
    return {{"quick", mode.quick}, {"scale", mode.scale}, {"peer", mode.peer ? "qemu" : "none"}};
}

Json variant_json(const PlannedVariant& planned) {
    Json options = Json::object();
    for (const auto& [name, value] : planned.send) options[name] = value;
    Json json = {{"name", planned.name},
                 {"label", planned.label},
                 {"peer", planned.peer.has_value()},
                 {"guest", planned.guest},
                 {"backing", planned.backing},
                 {"sink", planned.sink.starts_with("file:") ? "fresh file on tmpfs" : planned.sink},
                 {"send", std::move(options)},
                 {"notes", planned.notes}};
    if (!planned.skipped.empty()) json["skipped"] = planned.skipped;
    for (const auto& [key, value] : planned.variant.point.values) json["values"][key] = value;
    if (planned.baseline) json["baseline"] = planned.baseline->words();
    if (planned.variant.x) json["x"] = *planned.variant.x;
    if (!planned.variant.compare_to.empty()) json["compare-to"] = planned.variant.compare_to;
    if (planned.variant.published.is_object()) json["published"] = planned.variant.published;
    return json;
}

Json scenario_json(const Plan& plan) {
    const Scenario& scenario = plan.scenario;
    Json json = {{"name", scenario.name},       {"title", scenario.title},
                 {"about", scenario.about},     {"published-by", scenario.source_of_published},
                 {"x-label", scenario.x_label}, {"tables", scenario.definition["tables"]},
                 {"repeats", plan.repeats},     {"warm-ups", plan.warm_ups},
                 {"legs", plan.legs},           {"variants", Json::array()},
                 {"runs", Json::array()},       {"definition", scenario.definition}};
    for (const PlannedVariant& planned : plan.variants)
        json["variants"].push_back(variant_json(planned));
    for (const Goal& goal : scenario.goals) json["goals"].push_back(goal.json());
    return json;
}

}  // namespace

Results Results::begin(std::filesystem::path path, const Mode& mode) {
    Json json = {{"tool", "migrate bench"},
                 {"format", kFormat},
                 {"started", utc_text(std::chrono::system_clock::now())},
                 {"mode", mode_json(mode)},
                 {"host", describe_host()},
                 {"scenarios", Json::array()}};
    return {std::move(path), std::move(json)};
}

Result<Results> Results::resume(std::filesystem::path path, const Mode& mode) {
    Json json = Json::parse(file_content(path), nullptr, false);
    const auto wrong = [&](std::string_view what) {
        return make_error(ErrorKind::kUsage, "--resume: {}: {}", path.string(), what);
    };
    if (!json.is_object() || !json.contains("mode") || !json.contains("host") ||
        !json.contains("scenarios") || !json["scenarios"].is_array() ||
        json.value("format", 0) != kFormat) {
        return wrong("no results of an earlier run");
    }
    if (json["mode"] != mode_json(mode)) {
        return wrong("they were made with other options: " + json["mode"].dump());
    }
    const Json host = describe_host();
    for (const char* key : {"commit", "build", "cpu", "kernel", "memory"}) {
        if (json["host"].value(key, Json()) != host[key])
            return wrong(fmt::format("they were made with another {}", key));
    }
    return Results(std::move(path), std::move(json));
}

Result<Json*> Results::scenario(const Plan& plan) {
    for (Json& entry : json_["scenarios"]) {
        if (text_at(entry, "name") != plan.scenario.name) continue;
        if (entry["definition"] != plan.scenario.definition) {
            return make_error(ErrorKind::kUsage, "--resume: the scenario {} has changed since",
                              plan.scenario.name);
        }
        return &entry;
    }
    json_["scenarios"].push_back(scenario_json(plan));
    return &json_["scenarios"].back();
}

Status Results::save() const {
    return write_file(path_, json_.dump(1, ' ', false, Json::error_handler_t::replace) + '\n');
}

bool has_run(const Json& scenario, std::string_view variant, unsigned turn) {
    const Json& runs = scenario.at("runs");
    return std::any_of(runs.begin(), runs.end(), [&](const Json& run) {
        return text_at(run, "variant") == variant && run.value("turn", 0U) == turn &&
               !run.contains("error");
    });
}

Status write_file(const std::filesystem::path& path, std::string_view text) {
    return write_whole_file(path.string(), text);
}

}  // namespace migrate::bench
