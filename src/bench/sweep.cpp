// SPDX-License-Identifier: Apache-2.0
#include "bench/sweep.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "base/splitmix64.hpp"
#include "bench/json_reading.hpp"

namespace migrate::bench {
namespace {

using Values = std::vector<std::string>;

// The bench replaces these itself.
constexpr std::array<std::string_view, 3> kReserved{"size", "image", "scratch"};
constexpr std::array<std::string_view, 3> kRangeKeys{"from", "to", "step"};
constexpr unsigned kLargestRangeEnd = 1'000'000'000;

Result<Values> range_values(const Json& range, std::string_view key) {
    MIGRATE_TRY(check_object(range, key, kRangeKeys));
    if (!range.contains("from") || !range.contains("to")) {
        return wrong("{}: a range needs \"from\" and \"to\"", key);
    }
    unsigned from = 0;
    unsigned to = 0;
    unsigned step = 1;
    Status read = read_count(range, "from", 0, kLargestRangeEnd, from);
    if (read) read = read_count(range, "to", from, kLargestRangeEnd, to);
    if (read) read = read_count(range, "step", 1, kLargestRangeEnd, step);
    if (!read) return std::move(read).error().with_context(key);
    if ((to - from) / step >= kMaxSweepPoints) {
        return wrong("{}: more than {} values", key, kMaxSweepPoints);
    }
    Values values;
    for (unsigned value = from; value <= to; value += step)
        values.push_back(fmt::format("{}", value));
    return values;
}

Result<Values> values_of(const Json& json, std::string_view key) {
    if (json.is_object()) return range_values(json, key);
    if (!json.is_array() || json.empty() || json.size() > kMaxSweepPoints) {
        return wrong(
            "{} is neither a list of 1 to {} values nor a range {{\"from\": N, \"to\": N}}", key,
            kMaxSweepPoints);
    }
    Values values;
    for (const Json& value : json) {
        if (!value.is_string() && !value.is_number()) {
            return wrong("{}: {} is neither a text nor a number", key, value.dump());
        }
        values.push_back(value.is_string() ? value.get<std::string>() : value.dump());
    }
    return values;
}

// The values of every key of "sweep" or "draw".
Result<std::vector<std::pair<std::string, Values>>> axes_of(const Json& entry,
                                                            std::string_view what) {
    std::vector<std::pair<std::string, Values>> axes;
    const auto found = entry.find(what);
    if (found == entry.end()) return axes;
    if (!found->is_object() || found->empty()) return wrong("{} is no object with values", what);
    for (const auto& [key, json] : found->items()) {
        const std::string name = fmt::format("{}.{}", what, key);
        MIGRATE_TRY(check_name(key));
        if (std::find(kReserved.begin(), kReserved.end(), key) != kReserved.end()) {
            return wrong("{}: {{{}}} has a meaning of its own; use another key", name, key);
        }
        MIGRATE_ASSIGN(Values values, values_of(json, name));
        axes.emplace_back(key, std::move(values));
    }
    return axes;
}

std::string as_name(std::string value) {
    for (char& c : value) {
        const auto byte = static_cast<unsigned char>(c);
        c = std::isalnum(byte) != 0 ? static_cast<char>(std::tolower(byte)) : '-';
    }
    return value;
}

// The same for the same text, in every build and on every machine (FNV-1a).
std::uint64_t hash_of(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const char c : text) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    }
    return splitmix64(hash);
}

Result<std::vector<SweepPoint>> points_of(const Json& entry) {
    MIGRATE_ASSIGN(const auto swept_axes, axes_of(entry, "sweep"));
    MIGRATE_ASSIGN(const auto drawn_axes, axes_of(entry, "draw"));
    if (swept_axes.empty() && !drawn_axes.empty()) {
        return wrong("draw needs a sweep: each of its points draws a value");
    }
    for (const auto& [key, values] : drawn_axes) {
        if (entry["sweep"].contains(key)) return wrong("{} is both in sweep and in draw", key);
    }
    std::vector<SweepPoint> points(1);
    for (const auto& [key, values] : swept_axes) {
        std::vector<SweepPoint> longer;
        for (const SweepPoint& point : points) {
            for (const std::string& value : values) {
                longer.push_back(point);
                longer.back().suffix += '-' + as_name(value);
                longer.back().values.emplace_back(key, value);
            }
        }
        if (longer.size() > kMaxSweepPoints) {
            return wrong("sweep: more than {} combinations", kMaxSweepPoints);
        }
        points = std::move(longer);
    }
    for (SweepPoint& point : points) {
        for (const auto& [key, values] : drawn_axes) {
            point.values.emplace_back(key,
                                      values[hash_of(point.suffix + '/' + key) % values.size()]);
        }
    }
    return points;
}

void replace_in(std::string& text, const SweepPoint& point, std::set<std::string>& used) {
    for (const auto& [key, value] : point.values) {
        const std::string what = fmt::format("{{{}}}", key);
        for (std::size_t at = text.find(what); at != std::string::npos;
             at = text.find(what, at + value.size())) {
            text.replace(at, what.size(), value);
            used.insert(key);
        }
    }
}

// Replaces the point's keys in every text. The depth is bounded: parse_scenario refuses deep JSON.
void replace_in(Json& json, const SweepPoint& point, std::set<std::string>& used) {
    if (json.is_string()) {
        replace_in(json.get_ref<std::string&>(), point, used);
    } else if (json.is_structured()) {
        for (Json& value : json) replace_in(value, point, used);
    }
}

// "x" is a number: a text that was nothing but a placeholder becomes one.
void make_x_a_number(Json& json, const Json& before) {
    const std::string text = text_at(before, "x");
    if (!text.starts_with('{') || !text.ends_with('}')) return;
    const Json number = Json::parse(text_at(json, "x"), nullptr, false);
    if (number.is_number()) json["x"] = number;
}

}  // namespace

Result<std::vector<SweptEntry>> swept(const Json& defaults, const Json& entry) {
    if (!entry.is_object()) return wrong("an entry is no object");
    MIGRATE_ASSIGN(const std::vector<SweepPoint> points, points_of(entry));
    std::vector<SweptEntry> entries;
    for (const SweepPoint& point : points) {
        SweptEntry at{point, defaults, entry};
        at.entry.erase("sweep");
        at.entry.erase("draw");
        std::set<std::string> used;
        // The values of the entry replace those of the defaults.
        for (const auto& [key, value] : at.entry.items()) {
            if (!value.is_object()) at.defaults.erase(key);
        }
        replace_in(at.defaults, point, used);
        replace_in(at.entry, point, used);
        make_x_a_number(at.defaults, defaults);
        make_x_a_number(at.entry, entry);
        for (const auto& [key, value] : point.values) {
            if (!used.contains(key)) {
                return wrong("the value {0} is never used: write {{{0}}} where it belongs", key);
            }
        }
        entries.push_back(std::move(at));
    }
    return entries;
}

}  // namespace migrate::bench
