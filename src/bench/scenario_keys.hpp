// SPDX-License-Identifier: Apache-2.0
// The keys of a scenario's JSON, with their types and ranges. The parser refuses other keys, and
// the schema of scenarios is made of these rows.
#pragma once

#include <algorithm>
#include <array>
#include <cstdlib>
#include <span>
#include <string_view>

#include "base/enum_names.hpp"
#include "bench/goals.hpp"

namespace migrate::bench {

inline constexpr unsigned kMaxRepeats = 1000;
inline constexpr unsigned kMaxWarmUps = 10;
inline constexpr unsigned kMaxLegs = 1000;
inline constexpr std::size_t kMaxVariants = 256;
inline constexpr std::size_t kLongestText = 600;  // bytes
inline constexpr std::size_t kLongestName = 40;
inline constexpr std::size_t kMostTexts = 64;

enum class KeyType {
    kName,      // small letters, digits, hyphens
    kText,      // also a size or a time, as text
    kCount,     // a whole number from min to max
    kPlace,     // a number, or the key of a sweep: "{rate}"
    kPositive,  // a number of 0 or more
    kFlag,
    kWord,    // one of `words`
    kWords,   // a list of these
    kTexts,   // a text or a list of them
    kFigure,  // the name of a figure
    kSendOptions,
    kRecvOptions,
    kPublished,  // numbers by figure, and threads by name
    kValues,     // the values of each key of a sweep
    kDefaults,
    kVariants,
    kBaselines,
    kGoals
};

struct KeyRow {
    std::string_view key;
    KeyType type = KeyType::kText;
    std::string_view meaning;
    bool required = false;
    unsigned min = 0;
    unsigned max = 0;
    std::span<const std::string_view> words{};
};

// The names of TableKind, in its order.
inline constexpr std::array<std::string_view, 6> kTableNames{"threads", "latency",     "throughput",
                                                             "live",    "percentiles", "memory"};
inline constexpr std::array<std::string_view, 5> kSinkNames{"anon:", "anon:huge=off",
                                                            "memfd:", "null:", "tmpfs:"};

inline constexpr auto kScenarioRows = std::to_array<KeyRow>({
    {"name", KeyType::kName, "Name in the results.", true},
    {"title", KeyType::kText, "Text for the report."},
    {"about", KeyType::kText, "Text for the report."},
    {"published-by", KeyType::kText, "The origin of the published figures."},
    {"x-label", KeyType::kText, "The meaning of the variants' x."},
    {"tables", KeyType::kWords, "The tables of the report.", true, 0, 0, kTableNames},
    {"repeats", KeyType::kCount, "Timed runs of each variant.", false, 1, kMaxRepeats},
    {"warm-ups", KeyType::kCount, "Runs before them.", false, 0, kMaxWarmUps},
    {"legs", KeyType::kCount, "Legs of one run there and back, an even number.", false, 0,
     kMaxLegs},
    {"guest", KeyType::kText, "Size of the guest, 1M to 16T."},
    {"timeout", KeyType::kText, "Limit for one run, 1s to 1h."},
    {"quick-repeats", KeyType::kCount, "The same with --quick.", false, 1, kMaxRepeats},
    {"quick-warm-ups", KeyType::kCount, "The same with --quick.", false, 0, kMaxWarmUps},
    {"quick-legs", KeyType::kCount, "The same with --quick.", false, 0, kMaxLegs},
    {"quick-guest", KeyType::kText, "The same with --quick."},
    {"defaults", KeyType::kDefaults, "Every variant starts with these."},
    {"variants", KeyType::kVariants, "What is compared.", true},
    {"baselines", KeyType::kBaselines, "Other programs and loops in the same turns."},
    {"goals", KeyType::kGoals, "Limits for the figures."},
});

// The keys of a variant and of the defaults.
inline constexpr auto kVariantRows = std::to_array<KeyRow>({
    {"name", KeyType::kName, "Name in the results.", true},
    {"label", KeyType::kText, "Name for people."},
    {"guest", KeyType::kText, "Size of the guest, if it differs from the scenario's."},
    {"quick-guest", KeyType::kText, "The same with --quick."},
    {"source", KeyType::kText, "anon:{size},…, workload:{size},…, image:mixed:P or image:text:P."},
    {"sink", KeyType::kWord, "The sink; tmpfs: is a fresh file.", false, 0, 0, kSinkNames},
    {"send", KeyType::kSendOptions, "Options of 'migrate send'."},
    {"recv", KeyType::kRecvOptions, "Options of 'migrate recv'."},
    {"x", KeyType::kPlace, "Position on the x axis."},
    {"peer", KeyType::kFlag, "--peer runs this variant too."},
    {"compare-to", KeyType::kText, "An earlier variant for savings and speed-ups."},
    {"published", KeyType::kPublished, "Published numbers by figure."},
});

inline constexpr auto kBaselineRows = std::to_array<KeyRow>({
    {"name", KeyType::kName, "Name in the results.", true},
    {"label", KeyType::kText, "Name for people."},
    {"run", KeyType::kText, "iperf3:…, network:…, read:… or copy:….", true},
    {"guest", KeyType::kText, "Size, if it differs from the scenario's."},
    {"quick-guest", KeyType::kText, "The same with --quick."},
});

// Further keys of a variant and a baseline, which make many of one.
inline constexpr auto kSweepRows = std::to_array<KeyRow>({
    {"sweep", KeyType::kValues, "One entry for each combination of these values."},
    {"draw", KeyType::kValues, "Each entry of the sweep takes one of these values."},
});

inline constexpr auto kGoalRows = std::to_array<KeyRow>({
    {"figure", KeyType::kFigure, "The figure that is judged.", true},
    {"of", KeyType::kTexts, "Variants or baselines; a sweep's name stands for all.", true},
    {"against", KeyType::kTexts, "Divide by the same figure of these; qemu and qemu-10 are peers."},
    {"by", KeyType::kWord, "The value that stands for the runs.", false, 0, 0, kNames<GoalValue>},
    {"at-most", KeyType::kPositive, "Largest value or ratio."},
    {"at-least", KeyType::kPositive, "Smallest value or ratio."},
    {"within", KeyType::kPositive, "Largest value of all over the smallest, 1 or more."},
    {"published-within", KeyType::kPositive, "Distance to the published value; 0.1 is 10 %."},
});

template <std::size_t kSize>
constexpr std::array<std::string_view, kSize> key_names(const std::array<KeyRow, kSize>& rows) {
    std::array<std::string_view, kSize> names{};
    std::transform(rows.begin(), rows.end(), names.begin(),
                   [](const KeyRow& row) { return row.key; });
    return names;
}

}  // namespace migrate::bench
