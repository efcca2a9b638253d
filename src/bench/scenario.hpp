// SPDX-License-Identifier: Apache-2.0
// A scenario: what is compared, how large, how often, what was published, and which goals it has.
// Invariant: a Scenario that was parsed has only known keys, values in their ranges, and options
// that `migrate send` and `migrate recv` know. docs/bench.md has the schema.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "bench/baseline_spec.hpp"
#include "bench/goals.hpp"
#include "bench/json.hpp"
#include "bench/sweep.hpp"

namespace migrate::bench {

inline constexpr std::size_t kMaxScenarioBytes = 1 << 20;

// Options of a command by name, with their values as text.
using OptionList = std::vector<std::pair<std::string, std::string>>;

// True for an option that the bench sets itself: a scenario may not set it.
bool is_own_option(std::string_view key);
// The value of an option in the list, or "".
std::string option_in(const OptionList& options, std::string_view key);

// One side of a comparison: transfers by migrate, or runs of a baseline.
struct Variant {
    std::string name;                      // a key in the results: small letters, digits, hyphens
    std::string label;                     // for people; the name where the file gives none
    SweepPoint point;                      // its values, and the end of its name, in a sweep
    std::optional<BaselineSpec> baseline;  // runs instead of a transfer
    std::uint64_t guest = 0;               // bytes, at scale 1
    std::uint64_t quick_guest = 0;         // … with --quick
    // The --source of `migrate send`, with {size} for the guest's: "anon:{size},fill=read"; or an
    // image that the bench writes to tmpfs: "image:mixed:50", "image:text:50".
    std::string source;
    std::string sink;  // the --sink of `migrate recv`; "tmpfs:" is a fresh file there
    OptionList send;
    OptionList recv;
    std::optional<double> x;  // its place on the axis of the scenario's chart
    bool peer = false;        // --peer runs the same shape
    std::string compare_to;   // the variant that savings are counted against; empty: none
    Json published;           // published figures by name; null: none
};

// The tables of a scenario's report.
enum class TableKind {
    kThreads,      // CPU time of every thread, stacked
    kLatency,      // QEMU's summary: total time, downtime, throughput, bytes
    kThroughput,   // guest memory a second
    kLive,         // what a running guest saw
    kPercentiles,  // downtime at 0, 25, 50, 75 and 95 %
    kMemory,       // peak memory of both processes, which is then watched
};
std::optional<TableKind> table_kind_named(std::string_view name);

struct Scenario {
    std::string name;
    std::string title;
    std::string about;
    std::string source_of_published;  // who published the figures; empty: there are none
    std::string x_label;
    std::vector<TableKind> tables;
    unsigned repeats = 3;
    unsigned warm_ups = 1;
    unsigned quick_repeats = 1;
    unsigned quick_warm_ups = 0;
    // A run takes the guest there and back, this many legs in all; 0: there only.
    unsigned legs = 0;
    unsigned quick_legs = 0;
    std::uint64_t timeout_ms = 120'000;  // of one run
    std::vector<Variant> variants;       // the baselines last
    std::vector<Goal> goals;             // one for each series that is judged
    bool has_table(TableKind kind) const;
    Json definition;  // the file's content, for the results
};

// `text` is JSON, comments allowed. Fails with kUsage; `from` names the file in its message.
Result<Scenario> parse_scenario(std::string_view text, std::string_view from);

}  // namespace migrate::bench
