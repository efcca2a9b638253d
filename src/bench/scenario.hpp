// A scenario as its JSON file says it: what is compared, how large, how often, and what was
// published. Invariant: a Scenario that was parsed has only known keys, values in their ranges, and
// options that `migrate send` and `migrate recv` know.
// docs/bench.md has the schema.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "bench/json.hpp"

namespace migrate::bench {

inline constexpr unsigned kMaxRepeats = 1000;
inline constexpr unsigned kMaxWarmUps = 10;
inline constexpr unsigned kMaxLegs = 1000;
inline constexpr std::size_t kMaxVariants = 64;
inline constexpr std::size_t kMaxScenarioBytes = 1 << 20;

// Options of a command by name, with their values as text.
using OptionList = std::vector<std::pair<std::string, std::string>>;

// The value of an option in the list, or "".
std::string option_in(const OptionList& options, std::string_view key);

// One side of a comparison.
struct Variant {
    std::string name;               // a key in the results: small letters, digits, hyphens
    std::string label;              // for people; the name where the file gives none
    std::uint64_t guest = 0;        // bytes, at scale 1
    std::uint64_t quick_guest = 0;  // … with --quick
    // Of `migrate send`, without its size: "anon:{size},fill=read"; or an image that the bench
    // makes on tmpfs: "image:mixed:50", "image:text:50".
    std::string source;
    std::string sink;  // of `migrate recv`; "tmpfs:" is a fresh file there
    OptionList send;
    OptionList recv;
    std::optional<double> x;  // where it stands on the axis of the scenario's chart
    bool peer = false;        // --peer runs the same shape
    std::string compare_to;   // the variant that savings are counted against; empty: none
    Json published;           // published figures by name; null: none
};

// Which tables a scenario is reported in.
enum class TableKind {
    kThreads,      // CPU time of every thread, stacked
    kLatency,      // QEMU's summary: total time, downtime, throughput, bytes
    kThroughput,   // guest memory a second
    kLive,         // what a running guest saw
    kPercentiles,  // downtime at 0, 25, 50, 75 and 95 %
};
std::optional<TableKind> table_kind_named(std::string_view name);

struct Scenario {
    std::string name;
    std::string title;
    std::string about;
    std::string source_of_published;  // where the published figures are from; empty: none
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
    std::vector<Variant> variants;
    Json definition;  // the file's content, for the results
};

// `text` is JSON, comments allowed. Fails with kUsage; `from` names the file in its message.
Result<Scenario> parse_scenario(std::string_view text, std::string_view from);

}  // namespace migrate::bench
