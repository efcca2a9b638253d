// SPDX-License-Identifier: Apache-2.0
#include "bench/json_reading.hpp"

#include <algorithm>
#include <cmath>

#include "base/config/unit_text.hpp"
#include "base/suggestion.hpp"
#include "base/units.hpp"
#include "bench/scenario_keys.hpp"

namespace migrate::bench {
namespace {

constexpr std::uint64_t kLargestGuest = std::uint64_t{16} << 40;

Status check_text(const Json& json, std::string_view key) {
    if (!json.is_string()) return wrong("{} is no text", key);
    const std::size_t size = json.get_ref<const std::string&>().size();
    if (size == 0 || size > kLongestText) {
        return wrong("{} has {} bytes; allowed are 1 … {}", key, size, kLongestText);
    }
    return {};
}

}  // namespace

Status check_object(const Json& json, std::string_view what,
                    std::span<const std::string_view> keys) {
    if (!json.is_object()) return wrong("{} is no object", what);
    for (const auto& [key, value] : json.items()) {
        if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
            return wrong("{}: unknown key '{}'{}", what, key, suggestion(key, keys));
        }
    }
    return {};
}

Status check_name(const std::string& name) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    };
    if (name.empty() || name.size() > kLongestName ||
        !std::all_of(name.begin(), name.end(), allowed)) {
        return wrong("name '{}': allowed are 1 to {} small letters, digits and hyphens", name,
                     kLongestName);
    }
    return {};
}

Status read_text(const Json& json, std::string_view key, std::string& to) {
    const auto found = json.find(key);
    if (found == json.end()) return {};
    MIGRATE_TRY(check_text(*found, key));
    to = found->get<std::string>();
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

Status read_positive(const Json& json, std::string_view key, std::optional<double>& to) {
    const auto found = json.find(key);
    if (found == json.end()) return {};
    if (!found->is_number() || !std::isfinite(found->get<double>()) || found->get<double>() < 0) {
        return wrong("{}: {} is not a number of 0 or more", key, found->dump());
    }
    to = found->get<double>();
    return {};
}

Status read_texts(const Json& json, std::string_view key, std::vector<std::string>& to) {
    const auto found = json.find(key);
    if (found == json.end()) return {};
    const Json list = found->is_array() ? *found : Json::array({*found});
    if (list.empty() || list.size() > kMostTexts) {
        return wrong("{} is neither a text nor a list of 1 to {} texts", key, kMostTexts);
    }
    to.clear();
    for (const Json& entry : list) {
        MIGRATE_TRY(check_text(entry, key));
        to.push_back(entry.get<std::string>());
    }
    return {};
}

}  // namespace migrate::bench
