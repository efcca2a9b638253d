// SPDX-License-Identifier: Apache-2.0
#include "bench/baseline_spec.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "base/config/unit_text.hpp"
#include "base/join_words.hpp"
#include "base/suggestion.hpp"
#include "bench/json_reading.hpp"

namespace migrate::bench {
namespace {

using Kind = BaselineSpec::Kind;

struct KindRow {
    Kind kind;
    std::string_view name;
    std::string_view threads;              // the key of BaselineSpec::threads
    std::vector<std::string_view> others;  // the other keys
};

const std::array<KindRow, 4>& kind_rows() {
    static const std::array<KindRow, 4> kRows{
        {{Kind::kIperf3, "iperf3", "streams", {}},
         {Kind::kNetwork, "network", "channels", {"receiver", "pages", "chunk", "size"}},
         {Kind::kRead, "read", "threads", {"pages", "size"}},
         {Kind::kCopy, "copy", "threads", {"pages", "size"}}}};
    return kRows;
}

const KindRow& kind_row(Kind kind) {
    return *std::find_if(kind_rows().begin(), kind_rows().end(),
                         [&](const KindRow& row) { return row.kind == kind; });
}

constexpr unsigned kMostThreads = 255;
constexpr std::uint64_t kLargestChunk = 64 * kMiB;

Status set_threads(std::string_view key, const std::string& value, BaselineSpec& spec) {
    const Result<std::uint64_t> count = parse_integer(value);
    if (!count || *count < 1 || *count > kMostThreads) {
        return wrong("{}={} is no whole number from 1 to {}", key, value, kMostThreads);
    }
    spec.threads = static_cast<unsigned>(*count);
    return {};
}

Status set_bytes(std::string_view key, const std::string& value, std::uint64_t largest,
                 std::uint64_t& to) {
    const Result<std::uint64_t> bytes = parse_bytes(value);
    if (!bytes || *bytes < kPageSize || *bytes > largest || *bytes % kPageSize != 0) {
        return wrong("{}={} is no size from 4K to {}, in whole pages of 4K", key, value,
                     exact_bytes_text(largest));
    }
    to = *bytes;
    return {};
}

Status set_word(std::string_view key, const std::string& value, BaselineSpec& spec) {
    if (key == "chunk") return set_bytes(key, value, kLargestChunk, spec.chunk);
    if (key == "size") return set_bytes(key, value, std::uint64_t{16} << 40U, spec.bytes);
    if (key == "receiver") {
        const auto receiver = value_named<Receiver>(value);
        if (!receiver) {
            return wrong("receiver={}: use {}", value, join_words(kNames<Receiver>, "or"));
        }
        spec.receiver = *receiver;
        return {};
    }
    if (value != "huge" && value != "small") return wrong("pages={}: use huge or small", value);
    spec.pages = value == "huge" ? PageSizing::kHuge : PageSizing::kSmall;
    return {};
}

Status read_words(const KindRow& row, std::string_view words, BaselineSpec& spec) {
    while (!words.empty()) {
        const std::string_view word = words.substr(0, words.find(','));
        words.remove_prefix(std::min(words.size(), word.size() + 1));
        const std::size_t equals = std::min(word.find('='), word.size());
        const std::string_view key = word.substr(0, equals);
        const std::string value(word.substr(std::min(word.size(), equals + 1)));
        if (key == row.threads) {
            MIGRATE_TRY(set_threads(key, value, spec));
        } else if (std::find(row.others.begin(), row.others.end(), key) != row.others.end()) {
            MIGRATE_TRY(set_word(key, value, spec));
        } else {
            std::vector<std::string_view> keys = row.others;
            keys.push_back(row.threads);
            return wrong("unknown word '{}'{}", key, suggestion(key, keys));
        }
    }
    return {};
}

}  // namespace

Result<BaselineSpec> parse_baseline(std::string_view text) {
    const std::string_view name = text.substr(0, text.find(':'));
    const auto* row = std::find_if(kind_rows().begin(), kind_rows().end(),
                                   [&](const KindRow& each) { return each.name == name; });
    if (row == kind_rows().end()) {
        return wrong("'{}' is no baseline: use iperf3, network, read or copy", name);
    }
    BaselineSpec spec{.kind = row->kind};
    const std::string_view words = text.substr(std::min(text.size(), name.size() + 1));
    Status read = read_words(*row, words, spec);
    if (!read) return std::move(read).error().with_context(text);
    return spec;
}

std::string BaselineSpec::words() const {
    const KindRow& row = kind_row(kind);
    std::string text = fmt::format("{}:{}={}", row.name, row.threads, threads);
    for (const std::string_view key : row.others) {
        if (key == "receiver") text += fmt::format(",receiver={}", name_of(receiver));
        if (key == "pages") {
            text += fmt::format(",pages={}", pages == PageSizing::kHuge ? "huge" : "small");
        }
        if (key == "chunk") text += fmt::format(",chunk={}", exact_bytes_text(chunk));
        if (key == "size" && bytes != 0) text += fmt::format(",size={}", exact_bytes_text(bytes));
    }
    return text;
}

}  // namespace migrate::bench
