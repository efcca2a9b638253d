// SPDX-License-Identifier: Apache-2.0
#include "devices/simulated_spec.hpp"

#include "base/config/form_tables.hpp"

namespace migrate::devices {
namespace {

constexpr std::uint64_t kPaperFixedMs = 100;
constexpr std::uint64_t kPaperRate = 408 * kMiB;
constexpr unsigned kPaperSerialised = 78;

SimulatedSpec preset_spec(SimulatedPreset preset) {
    return {.size_bytes = 100 * kMiB,
            .save_rate = kPaperRate,
            .load_rate = kPaperRate,
            .fixed_ms = kPaperFixedMs,
            .serialised = preset == SimulatedPreset::kPaper ? kPaperSerialised : 0};
}

// The words of a peer have no name before them.
constexpr Form kNameless{.name = "sim", .help = "", .words = kSimulatedWords};

}  // namespace

std::string SimulatedSpec::text() const {
    return fmt::format(
        "size={},save-rate={},load-rate={},fixed={},serialised={},seed={},jitter={},fail-save={},"
        "fail-load={}",
        size_bytes, save_rate, load_rate, fixed_ms, serialised, seed, jitter_ms, fail_save,
        fail_load);
}

SimulatedSpec simulated_spec(const ParsedForm& parsed) {
    const Words<kSimulatedWords> words(parsed);
    const bool preset = words.has<"preset">();
    SimulatedSpec spec;
    if (preset) spec = preset_spec(words.get<"preset", SimulatedPreset>());
    // A preset replaces the defaults of its words.
    if (!preset || words.has<"size">()) spec.size_bytes = words.get<"size">();
    if (!preset || words.has<"save-rate">()) spec.save_rate = words.get<"save-rate">();
    if (!preset || words.has<"load-rate">()) spec.load_rate = words.get<"load-rate">();
    if (!preset || words.has<"fixed">()) spec.fixed_ms = words.get<"fixed">();
    if (!preset || words.has<"serialised">()) {
        spec.serialised = words.get<"serialised", unsigned>();
    }
    spec.seed = words.get<"seed">();
    spec.jitter_ms = words.get<"jitter">();
    spec.fail_save = words.get<"fail-save">();
    spec.fail_load = words.get<"fail-load">();
    return spec;
}

Result<SimulatedSpec> parse_simulated(std::string_view words) {
    MIGRATE_ASSIGN(const ParsedForm parsed, parse_words(kNameless, words));
    return simulated_spec(parsed);
}

}  // namespace migrate::devices
