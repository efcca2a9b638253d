#include "bench/scenario.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <span>

#include "base/config/option_table.hpp"
#include "base/config/unit_text.hpp"

namespace migrate::bench {
namespace {

constexpr std::array<std::string_view, 17> kScenarioKeys{
    "name",           "title",      "about",       "published-by", "x-label", "tables",
    "repeats",        "warm-ups",   "legs",        "guest",        "timeout", "quick-repeats",
    "quick-warm-ups", "quick-legs", "quick-guest", "defaults",     "variants"};
constexpr std::array<std::string_view, 12> kVariantKeys{
    "name", "label", "guest", "quick-guest", "source",     "sink",
    "send", "recv",  "x",     "peer",        "compare-to", "published"};
constexpr std::array<std::string_view, 5> kTableNames{"threads", "latency", "throughput", "live",
                                                      "percentiles"};
constexpr std::uint64_t kLargestGuest = std::uint64_t{16} << 40;
constexpr std::size_t kLongestText = 600;

template <typename... Args>
Error wrong(fmt::format_string<Args...> format, Args&&... args) {
    return make_error(ErrorKind::kUsage, format, std::forward<Args>(args)...);
}

Status check_object(const Json& json, std::string_view what,
                    std::span<const std::string_view> keys) {
    if (!json.is_object()) return wrong("{} is no object", what);
    for (const auto& [key, value] : json.items()) {
        if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
            return wrong("{}: unknown key '{}': did you mean '{}'?", what, key,
                         nearest_name(key, keys));
        }
    }
    return {};
}

Status read_text(const Json& json, std::string_view key, std::string& to) {
    const auto found = json.find(key);
    if (found == json.end()) return {};
    if (!found->is_string()) return wrong("{} is no text", key);
    to = found->get<std::string>();
    if (to.empty() || to.size() > kLongestText) {
        return wrong("{} has {} bytes; allowed are 1 … {}", key, to.size(), kLongestText);
    }
    return {};
}

Status read_count(const Json& json, std::string_view key, unsigned min, unsigned max,
                  unsigned& to) {
    const auto found = json.find(key);
    if (found == json.end()) return {};
    if (!found->is_number_integer() || found->get<std::int64_t>() < min ||
        found->get<std::int64_t>() > max) {
        return wrong("{} is no whole number from {} to {}", key, min, max);
    }
    to = found->get<unsigned>();
    return {};
}

Status read_size(const Json& json, std::string_view key, std::uint64_t& to) {
    std::string text;
    MIGRATE_TRY(read_text(json, key, text));
    if (text.empty()) return {};
    Result<std::uint64_t> bytes = parse_bytes(text);
    if (!bytes) return std::move(bytes).error().with_context(key);
    if (*bytes < kMiB || *bytes > kLargestGuest || *bytes % kPageSize != 0) {
        return wrong("{}: {} is not from 1M to 16T, in whole pages of 4K", key, text);
    }
    to = *bytes;
    return {};
}

Status check_name(const std::string& name) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    };
    if (name.empty() || name.size() > 40 || !std::all_of(name.begin(), name.end(), allowed)) {
        return wrong("name '{}': allowed are 1 to 40 small letters, digits and hyphens", name);
    }
    return {};
}

// A JSON value as the command line would have it.
Result<std::string> option_value(std::string_view key, const Json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_boolean()) return std::string(value.get<bool>() ? "on" : "off");
    if (value.is_number_integer() && value.get<std::int64_t>() >= 0) return value.dump();
    return wrong("option {}: a text, a whole number, true or false", key);
}

// The options of one command, those of `json` over those that are there already.
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
        if (!threads && !value.is_number()) return wrong("published.{} is no number", key);
        if (!threads) continue;
        for (const auto& [name, time] : value.items()) {
            if (!time.is_number()) return wrong("published.threads.{} is no number", name);
        }
    }
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
    if (const auto x = json.find("x"); x != json.end()) {
        if (!x->is_number()) return wrong("x is no number");
        to.x = x->get<double>();
    }
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
        return wrong("source '{}' is none of image:, anon: and workload:", variant.source);
    }
    if (variant.source.find("{size}") == std::string::npos) {
        return wrong("source {} lacks the guest's size: anon:{{size}},…", variant.source);
    }
    return {};
}

Status check_variant(const Variant& variant) {
    MIGRATE_TRY(check_name(variant.name));
    MIGRATE_TRY(check_source(variant));
    constexpr std::array<std::string_view, 5> kSinks{"anon:", "anon:huge=off",
                                                     "memfd:", "null:", "tmpfs:"};
    if (std::find(kSinks.begin(), kSinks.end(), variant.sink) == kSinks.end()) {
        return wrong("sink '{}' is none of {}", variant.sink, fmt::join(kSinks, ", "));
    }
    if (variant.guest == 0) return wrong("guest is missing");
    for (const auto* options : {&variant.send, &variant.recv}) {
        for (const std::string_view own :
             {"connect", "listen", "source", "sink", "stats", "port-file", "repeat"}) {
            if (!option_in(*options, own).empty())
                return wrong("option {} is the bench's own", own);
        }
    }
    return {};
}

Status read_variants(const Json& json, Scenario& scenario) {
    Variant defaults;
    MIGRATE_TRY(read_size(json, "guest", defaults.guest));
    MIGRATE_TRY(read_size(json, "quick-guest", defaults.quick_guest));
    if (const auto found = json.find("defaults"); found != json.end()) {
        Status read = read_variant(*found, defaults);
        if (!read) return std::move(read).error().with_context("defaults");
    }
    const auto list = json.find("variants");
    if (list == json.end() || !list->is_array() || list->empty() || list->size() > kMaxVariants) {
        return wrong("variants is no list of 1 to {}", kMaxVariants);
    }
    std::set<std::string> names;
    for (const Json& entry : *list) {
        Variant variant = defaults;
        Status read = read_variant(entry, variant);
        if (read) read = check_variant(variant);
        if (read && variant.peer && scenario.legs != 0) {
            read = wrong("peer: QEMU does not go there and back (legs)");
        }
        if (read && !names.insert(variant.name).second) read = wrong("its name is there twice");
        if (read && !variant.compare_to.empty() && !names.contains(variant.compare_to)) {
            read = wrong("compare-to names no variant before it: '{}'", variant.compare_to);
        }
        if (!read) {
            return std::move(read).error().with_context(fmt::format("variant '{}'", variant.name));
        }
        if (variant.label.empty()) variant.label = variant.name;
        if (variant.quick_guest == 0) variant.quick_guest = variant.guest;
        scenario.variants.push_back(std::move(variant));
    }
    return {};
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
            return wrong("tables: {} is none of {}", name.dump(), fmt::join(kTableNames, ", "));
        scenario.tables.push_back(*kind);
    }
    return {};
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
    MIGRATE_TRY(read_count(json, "repeats", 1, kMaxRepeats, to.repeats));
    MIGRATE_TRY(read_count(json, "warm-ups", 0, kMaxWarmUps, to.warm_ups));
    MIGRATE_TRY(read_count(json, "quick-repeats", 1, kMaxRepeats, to.quick_repeats));
    MIGRATE_TRY(read_count(json, "quick-warm-ups", 0, kMaxWarmUps, to.quick_warm_ups));
    MIGRATE_TRY(read_count(json, "legs", 0, kMaxLegs, to.legs));
    to.quick_legs = to.legs;
    MIGRATE_TRY(read_count(json, "quick-legs", 0, kMaxLegs, to.quick_legs));
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
    return read_variants(json, to);
}

}  // namespace

std::string option_in(const OptionList& options, std::string_view key) {
    const auto found = std::find_if(options.begin(), options.end(),
                                    [&](const auto& option) { return option.first == key; });
    return found == options.end() ? std::string() : found->second;
}

std::optional<TableKind> table_kind_named(std::string_view name) {
    const auto* found = std::find(kTableNames.begin(), kTableNames.end(), name);
    if (found == kTableNames.end()) return std::nullopt;
    return static_cast<TableKind>(found - kTableNames.begin());
}

Result<Scenario> parse_scenario(std::string_view text, std::string_view from) {
    if (text.size() > kMaxScenarioBytes) return wrong("{}: larger than 1 MiB", from);
    const Json json = Json::parse(text, nullptr, false, true);
    if (json.is_discarded()) return wrong("{}: no valid JSON", from);
    Scenario scenario;
    Status read = read_scenario(json, scenario);
    if (!read) return std::move(read).error().with_context(from);
    scenario.definition = json;
    return scenario;
}

}  // namespace migrate::bench
