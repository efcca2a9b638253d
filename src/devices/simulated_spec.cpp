#include "devices/simulated_spec.hpp"

#include <algorithm>

#include "base/config/unit_text.hpp"

namespace migrate::devices {
namespace {

constexpr std::uint64_t kPaperFixedMs = 100;
constexpr std::uint64_t kPaperRate = 408 * kMiB;
constexpr unsigned kPaperSerialised = 78;

Status apply_preset(std::string_view name, SimulatedSpec& spec) {
    if (name != "paper" && name != "ideal") {
        return make_error(ErrorKind::kUsage, "preset must be paper or ideal, not '{}'", name);
    }
    spec.size_bytes = 100 * kMiB;
    spec.save_rate = kPaperRate;
    spec.load_rate = kPaperRate;
    spec.fixed_ms = kPaperFixedMs;
    spec.serialised = name == "paper" ? kPaperSerialised : 0;
    return {};
}

Status bounded(std::string_view key, Result<std::uint64_t> value, std::uint64_t max,
               std::uint64_t& to) {
    if (!value) return std::move(value).error().with_context(key);
    if (*value > max) {
        return make_error(ErrorKind::kUsage, "{} is {}; at most {} is possible", key, *value, max);
    }
    to = *value;
    return {};
}

Status apply_word(std::string_view key, std::string_view value, SimulatedSpec& spec) {
    if (key == "preset") return apply_preset(value, spec);
    if (key == "size") {
        return bounded(key, parse_bytes(value), kMaxSimulatedBytes, spec.size_bytes);
    }
    if (key == "save-rate") return bounded(key, parse_bytes(value), kMaxRate, spec.save_rate);
    if (key == "load-rate") return bounded(key, parse_bytes(value), kMaxRate, spec.load_rate);
    if (key == "fixed") return bounded(key, parse_duration_ms(value), kMaxFixedMs, spec.fixed_ms);
    if (key == "jitter") {
        return bounded(key, parse_duration_ms(value), kMaxJitterMs, spec.jitter_ms);
    }
    if (key == "seed") return bounded(key, parse_integer(value), UINT64_MAX, spec.seed);
    if (key == "fail-save") {
        return bounded(key, parse_bytes(value), kMaxSimulatedBytes, spec.fail_save);
    }
    if (key == "fail-load") {
        return bounded(key, parse_bytes(value), kMaxSimulatedBytes, spec.fail_load);
    }
    if (key == "serialised") {
        std::uint64_t percent = 0;
        MIGRATE_TRY(bounded(key, parse_integer(value), 100, percent));
        spec.serialised = static_cast<unsigned>(percent);
        return {};
    }
    return make_error(ErrorKind::kUsage,
                      "'{}' is none of preset, size, save-rate, load-rate, fixed, serialised, "
                      "seed, jitter, fail-save, fail-load",
                      key);
}

}  // namespace

std::string SimulatedSpec::text() const {
    return fmt::format(
        "size={},save-rate={},load-rate={},fixed={},serialised={},seed={},jitter={},fail-save={},"
        "fail-load={}",
        size_bytes, save_rate, load_rate, fixed_ms, serialised, seed, jitter_ms, fail_save,
        fail_load);
}

Result<SimulatedSpec> parse_simulated(std::string_view words) {
    SimulatedSpec spec;
    while (!words.empty()) {
        const std::size_t comma = std::min(words.find(','), words.size());
        const std::string_view word = words.substr(0, comma);
        words.remove_prefix(std::min(comma + 1, words.size()));
        const std::size_t equals = word.find('=');
        if (equals == std::string_view::npos) {
            return make_error(ErrorKind::kUsage, "'{}' is not KEY=VALUE", word);
        }
        MIGRATE_TRY(apply_word(word.substr(0, equals), word.substr(equals + 1), spec));
    }
    return spec;
}

}  // namespace migrate::devices
