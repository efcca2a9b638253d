// SPDX-License-Identifier: Apache-2.0
#include "bench/scenario.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <span>

#include "base/config/option_lookup.hpp"
#include "base/config/unit_text.hpp"
#include "base/duplicate_keys.hpp"
#include "bench/json_reading.hpp"
#include "bench/scenario_keys.hpp"

namespace migrate::bench {
namespace {

constexpr auto kScenarioKeys = key_names(kScenarioRows);
constexpr auto kVariantKeys = key_names(kVariantRows);
constexpr auto kBaselineKeys = key_names(kBaselineRows);
// The bench sets these options itself.
constexpr std::array<std::string_view, 8> kOwnOptions{"connect", "path",  "listen",    "source",
                                                      "sink",    "stats", "port-file", "repeat"};
// Deeper JSON than any scenario needs.
constexpr int kDeepest = 8;

// A JSON value as text for the command line.
Result<std::string> option_value(std::string_view key, const Json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_boolean()) return std::string(value.get<bool>() ? "on" : "off");
    if (value.is_number_integer() && value.get<std::int64_t>() >= 0) return value.dump();
    return wrong("option {}: a text, a whole number, true or false", key);
}

// Reads the options of one command; they replace those of the same name in `to`.
Status read_options(const Json& json, std::string_view key, Side side, OptionList& to) {
    const auto found = json.find(key);
    if (found == json.end()) return {};
    if (!found->is_object()) return wrong("{} is no object", key);
    for (const auto& [name, value] : found->items()) {
        MIGRATE_ASSIGN(std::string text, option_value(name, value));
        MIGRATE_ASSIGN(const std::size_t row, find_option_for(name, side));
        MIGRATE_TRY(parse_option(kOptions[row], text));
        const auto same = [&wanted = name](const auto& option) { return option.first == wanted; };
        const auto old = std::find_if(to.begin(), to.end(), same);
        if (old != to.end()) {
            old->second = std::move(text);
        } else {
            to.emplace_back(name, std::move(text));
        }
    }
    return {};
}

Status check_published(const Json& published) {
    for (const auto& [key, value] : published.items()) {
        const bool threads = key == "threads" && value.is_object();
        if (!threads && !value.is_number()) return wrong("published.{} is not a number", key);
        if (!threads) continue;
        for (const auto& [name, time] : value.items()) {
            if (!time.is_number()) return wrong("published.threads.{} is not a number", name);
        }
    }
    return {};
}

Status read_x(const Json& json, std::optional<double>& to) {
    const auto found = json.find("x");
    if (found == json.end()) return {};
    if (!found->is_number()) return wrong("x: {} is not a number", found->dump());
    to = found->get<double>();
    return {};
}

Status read_variant(const Json& json, Variant& to) {
    MIGRATE_TRY(check_object(json, "a variant", kVariantKeys));
    MIGRATE_TRY(read_text(json, "name", to.name));
    MIGRATE_TRY(read_text(json, "label", to.label));
    MIGRATE_TRY(read_size(json, "guest", to.guest));
    MIGRATE_TRY(read_size(json, "quick-guest", to.quick_guest));
    MIGRATE_TRY(read_text(json, "source", to.source));
    MIGRATE_TRY(read_text(json, "sink", to.sink));
    MIGRATE_TRY(read_options(json, "send", Side::kSend, to.send));
    MIGRATE_TRY(read_options(json, "recv", Side::kRecv, to.recv));
    MIGRATE_TRY(read_text(json, "compare-to", to.compare_to));
    MIGRATE_TRY(read_x(json, to.x));
    if (const auto peer = json.find("peer"); peer != json.end()) {
        if (!peer->is_boolean()) return wrong("peer is neither true nor false");
        to.peer = peer->get<bool>();
    }
    if (const auto published = json.find("published"); published != json.end()) {
        if (!published->is_object()) return wrong("published is no object");
        MIGRATE_TRY(check_published(*published));
        to.published = *published;
    }
    return {};
}

Status check_source(const Variant& variant) {
    if (variant.source.starts_with("image:")) {
        Result<std::uint64_t> percent = make_error(ErrorKind::kUsage, "no percentage");
        for (const std::string_view kind : {"image:mixed:", "image:text:"}) {
            if (variant.source.starts_with(kind))
                percent = parse_integer(std::string_view(variant.source).substr(kind.size()));
        }
        if (!percent || *percent > 100) {
            return wrong("source {}: image:mixed:PERCENT or image:text:PERCENT", variant.source);
        }
        return {};
    }
    if (!variant.source.starts_with("anon:") && !variant.source.starts_with("workload:")) {
        return wrong("source '{}' is not image:, anon: or workload:", variant.source);
    }
    if (variant.source.find("{size}") == std::string::npos) {
        return wrong("source {} lacks the guest's size: anon:{{size}},…", variant.source);
    }
    return {};
}

Status check_variant(const Variant& variant) {
    MIGRATE_TRY(check_name(variant.name));
    MIGRATE_TRY(check_source(variant));
    if (std::find(kSinkNames.begin(), kSinkNames.end(), variant.sink) == kSinkNames.end()) {
        return wrong("sink '{}' is not one of {}", variant.sink, fmt::join(kSinkNames, ", "));
    }
    if (variant.guest == 0) return wrong("guest is missing");
    for (const auto* options : {&variant.send, &variant.recv}) {
        for (const std::string_view own : kOwnOptions) {
            if (!option_in(*options, own).empty())
                return wrong("option {} is the bench's own", own);
        }
    }
    return {};
}

// Takes a variant or baseline into the scenario.
Status add_variant(Variant variant, Scenario& scenario) {
    for (const Variant& other : scenario.variants) {
        if (other.name == variant.name) return wrong("its name is there twice");
    }
    const auto& all = scenario.variants;
    const auto compared = std::find_if(all.begin(), all.end(), [&](const Variant& other) {
        return other.name == variant.compare_to;
    });
    if (!variant.compare_to.empty() && compared == all.end()) {
        return wrong("compare-to names no variant before it: '{}'", variant.compare_to);
    }
    if (all.size() == kMaxVariants) return wrong("more than {} variants", kMaxVariants);
    if (variant.label.empty()) variant.label = variant.name;
    if (variant.quick_guest == 0) variant.quick_guest = variant.guest;
    scenario.variants.push_back(std::move(variant));
    return {};
}

Status read_swept_variant(const SweptEntry& at, const Variant& sizes, Scenario& scenario) {
    Variant variant = sizes;
    Status read = read_variant(at.defaults, variant);
    if (!read) return std::move(read).error().with_context("defaults");
    MIGRATE_TRY(read_variant(at.entry, variant));
    variant.name += at.point.suffix;
    variant.point = at.point;
    MIGRATE_TRY(check_variant(variant));
    if (variant.peer && scenario.legs != 0) {
        return wrong("peer: QEMU does not go there and back (legs)");
    }
    return add_variant(std::move(variant), scenario);
}

Status read_swept_baseline(const SweptEntry& at, const Variant& sizes, Scenario& scenario) {
    Variant variant = sizes;
    std::string run;
    MIGRATE_TRY(check_object(at.entry, "a baseline", kBaselineKeys));
    MIGRATE_TRY(read_text(at.entry, "name", variant.name));
    MIGRATE_TRY(read_text(at.entry, "label", variant.label));
    MIGRATE_TRY(read_size(at.entry, "guest", variant.guest));
    MIGRATE_TRY(read_size(at.entry, "quick-guest", variant.quick_guest));
    MIGRATE_TRY(read_text(at.entry, "run", run));
    variant.name += at.point.suffix;
    variant.point = at.point;
    MIGRATE_TRY(check_name(variant.name));
    if (variant.guest == 0) return wrong("guest is missing");
    if (run.empty())
        return wrong("run is missing: \"iperf3:streams=8\", \"network:channels=8\", …");
    Result<BaselineSpec> spec = parse_baseline(run);
    if (!spec) return std::move(spec).error().with_context("run");
    if (spec->bytes != 0) return wrong("run: the size is the baseline's guest, not size=");
    if (scenario.legs != 0) return wrong("a baseline does not go there and back (legs)");
    variant.baseline = *spec;
    if (variant.label.empty()) variant.label = spec->words();
    return add_variant(std::move(variant), scenario);
}

// Reads the list under `key`, every entry at each point of its sweep.
Status read_entries(const Json& json, std::string_view key, const Json& defaults,
                    Status (*read_one)(const SweptEntry&, const Variant&, Scenario&),
                    Scenario& scenario) {
    Variant sizes;
    MIGRATE_TRY(read_size(json, "guest", sizes.guest));
    MIGRATE_TRY(read_size(json, "quick-guest", sizes.quick_guest));
    const auto list = json.find(key);
    if (list == json.end() || !list->is_array() || list->empty() || list->size() > kMaxVariants) {
        return wrong("{} is no list of 1 to {}", key, kMaxVariants);
    }
    for (const Json& entry : *list) {
        const std::string name = entry.is_object() ? text_at(entry, "name") : "";
        const std::string what = fmt::format("{} '{}'", key.substr(0, key.size() - 1), name);
        Result<std::vector<SweptEntry>> entries = swept(defaults, entry);
        if (!entries) return std::move(entries).error().with_context(what);
        for (const SweptEntry& at : *entries) {
            Status read = read_one(at, sizes, scenario);
            if (!read) return std::move(read).error().with_context(what + at.point.suffix);
        }
    }
    return {};
}

Status read_all_entries(const Json& json, Scenario& scenario) {
    const auto found = json.find("defaults");
    const Json defaults = found == json.end() ? Json::object() : *found;
    MIGRATE_TRY(check_object(defaults, "defaults", kVariantKeys));
    MIGRATE_TRY(read_entries(json, "variants", defaults, read_swept_variant, scenario));
    if (!json.contains("baselines")) return {};
    return read_entries(json, "baselines", Json::object(), read_swept_baseline, scenario);
}

Status read_lists(const Json& json, Scenario& scenario) {
    const auto tables = json.find("tables");
    if (tables == json.end() || !tables->is_array() || tables->empty()) {
        return wrong("tables is no list of {}", fmt::join(kTableNames, ", "));
    }
    for (const Json& name : *tables) {
        const auto kind =
            name.is_string() ? table_kind_named(name.get<std::string>()) : std::nullopt;
        if (!kind)
            return wrong("tables: {} is not one of {}", name.dump(), fmt::join(kTableNames, ", "));
        scenario.tables.push_back(*kind);
    }
    return {};
}

// Reads a count within the range of its row.
Status read_count(const Json& json, std::string_view key, unsigned& to) {
    const auto* row = std::find_if(kScenarioRows.begin(), kScenarioRows.end(),
                                   [&](const KeyRow& each) { return each.key == key; });
    // A key without a row is a mistake in this file.
    if (row == kScenarioRows.end()) std::abort();
    return bench::read_count(json, key, row->min, row->max, to);
}

Status read_scenario(const Json& json, Scenario& to) {
    MIGRATE_TRY(check_object(json, "the scenario", kScenarioKeys));
    MIGRATE_TRY(read_text(json, "name", to.name));
    MIGRATE_TRY(check_name(to.name));
    to.title = to.name;
    MIGRATE_TRY(read_text(json, "title", to.title));
    MIGRATE_TRY(read_text(json, "about", to.about));
    MIGRATE_TRY(read_text(json, "published-by", to.source_of_published));
    MIGRATE_TRY(read_text(json, "x-label", to.x_label));
    MIGRATE_TRY(read_count(json, "repeats", to.repeats));
    MIGRATE_TRY(read_count(json, "warm-ups", to.warm_ups));
    MIGRATE_TRY(read_count(json, "quick-repeats", to.quick_repeats));
    MIGRATE_TRY(read_count(json, "quick-warm-ups", to.quick_warm_ups));
    MIGRATE_TRY(read_count(json, "legs", to.legs));
    to.quick_legs = to.legs;
    MIGRATE_TRY(read_count(json, "quick-legs", to.quick_legs));
    if (to.legs % 2 != 0 || to.quick_legs % 2 != 0) {
        return wrong("legs: a guest that goes there and back makes an even number of them");
    }
    std::string timeout;
    MIGRATE_TRY(read_text(json, "timeout", timeout));
    if (!timeout.empty()) {
        MIGRATE_ASSIGN(to.timeout_ms, parse_duration_ms(timeout));
        if (to.timeout_ms < 1000 || to.timeout_ms > 3'600'000) {
            return wrong("timeout: {} is not from 1s to 1h", timeout);
        }
    }
    MIGRATE_TRY(read_lists(json, to));
    MIGRATE_TRY(read_all_entries(json, to));
    MIGRATE_ASSIGN(to.goals, parse_goals(json, to.variants));
    return {};
}

}  // namespace

bool is_own_option(std::string_view key) {
    return std::find(kOwnOptions.begin(), kOwnOptions.end(), key) != kOwnOptions.end();
}

std::string option_in(const OptionList& options, std::string_view key) {
    const auto found = std::find_if(options.begin(), options.end(),
                                    [&](const auto& option) { return option.first == key; });
    return found == options.end() ? std::string() : found->second;
}

bool Scenario::has_table(TableKind kind) const {
    return std::find(tables.begin(), tables.end(), kind) != tables.end();
}

std::optional<TableKind> table_kind_named(std::string_view name) {
    const auto* found = std::find(kTableNames.begin(), kTableNames.end(), name);
    if (found == kTableNames.end()) return std::nullopt;
    return static_cast<TableKind>(found - kTableNames.begin());
}

Result<Scenario> parse_scenario(std::string_view text, std::string_view from) {
    if (text.size() > kMaxScenarioBytes) return wrong("{}: larger than 1 MiB", from);
    bool too_deep = false;
    DuplicateKeys<Json> duplicates;
    const auto bounded = [&](int depth, Json::parse_event_t event, const Json& parsed) {
        too_deep = too_deep || depth > kDeepest;
        if (!too_deep) duplicates.see(event, parsed);
        return depth <= kDeepest;
    };
    const Json json = Json::parse(text, bounded, false, true);
    if (json.is_discarded()) return wrong("{}: no valid JSON", from);
    if (too_deep) return wrong("{}: deeper than {} levels", from, kDeepest);
    if (!duplicates.first().empty())
        return wrong("{}: '{}' is set twice in the same object", from, duplicates.first());
    Scenario scenario;
    Status read = read_scenario(json, scenario);
    if (!read) return std::move(read).error().with_context(from);
    scenario.definition = json;
    return scenario;
}

}  // namespace migrate::bench
