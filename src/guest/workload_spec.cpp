#include "guest/workload_spec.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <utility>
#include <vector>

#include "base/config/unit_text.hpp"
#include "base/join_words.hpp"
#include "memory/uri.hpp"

namespace migrate::guest {
namespace {

using memory::HugePages;
using memory::KeyValue;
using memory::MemoryKind;

// The words are in the order of the enums' values.
constexpr std::array<std::string_view, 3> kPatterns{"sequential", "uniform", "hot-spot"};
constexpr std::array<std::string_view, 3> kFills{"working-set", "all", "none"};
constexpr std::array<std::string_view, 3> kMemories{"anon", "memfd", "hugetlb"};

template <typename Enum, std::size_t N>
Status parse_enum(const KeyValue& word, const std::array<std::string_view, N>& words, Enum& to) {
    const auto* found = std::find(words.begin(), words.end(), word.value);
    if (found == words.end()) {
        return make_error(ErrorKind::kUsage, "{}={}: allowed are {}", word.key, word.value,
                          join_words(words, "and"));
    }
    to = static_cast<Enum>(found - words.begin());
    return {};
}

template <typename Number>
Status parse_number(const KeyValue& word, Result<std::uint64_t> parsed, std::uint64_t min,
                    std::uint64_t max, Number& to) {
    if (!parsed) return std::move(parsed).error().with_context(word.key);
    if (*parsed < min || *parsed > max) {
        return make_error(ErrorKind::kUsage, "{}={}: allowed are {} to {}", word.key, word.value,
                          min, max);
    }
    to = static_cast<Number>(*parsed);
    return {};
}

Status parse_word(std::string_view uri, const KeyValue& word, WorkloadOptions& options) {
    WorkloadSpec& spec = options.spec;
    const std::string_view value = word.value;
    if (word.key == "rate") {
        return parse_number(word, parse_integer(value), 0, kMaxRateMibS, spec.rate_mib_s);
    }
    if (word.key == "pattern") return parse_enum(word, kPatterns, spec.pattern);
    if (word.key == "working-set") {
        return parse_number(word, parse_bytes(value), 1, UINT64_MAX, spec.working_set_bytes);
    }
    if (word.key == "threads") {
        return parse_number(word, parse_integer(value), 1, kMaxThreads, spec.threads);
    }
    if (word.key == "seed") {
        return parse_number(word, parse_integer(value), 0, UINT64_MAX, spec.seed);
    }
    if (word.key == "memory") return parse_enum(word, kMemories, options.memory);
    if (word.key == "fill") return parse_enum(word, kFills, spec.fill);
    if (word.key == "warm-up") {
        return parse_number(word, parse_duration_ms(value), 0, kMaxWarmUpMs, options.warm_up_ms);
    }
    MIGRATE_ASSIGN(const bool on, memory::parse_switch(uri, word));
    options.huge = on ? HugePages::kOn : HugePages::kOff;
    return {};
}

Status check_memory_kind(const WorkloadOptions& options) {
    if (options.memory != MemoryKind::kHugetlb) return {};
    if (options.huge == HugePages::kOn) {
        return make_error(ErrorKind::kUsage,
                          "huge=on is for transparent huge pages, with memory=anon or "
                          "memory=memfd; memory=hugetlb has huge pages anyway");
    }
    if (options.spec.size_bytes % kHugePageSize == 0) return {};
    return make_error(ErrorKind::kUsage,
                      "memory=hugetlb: {} bytes is not a multiple of the huge page size, {}",
                      options.spec.size_bytes, kHugePageSize);
}

Result<WorkloadOptions> parse_words(std::string_view uri, std::string_view words) {
    constexpr std::array<std::string_view, 9> kKeys{
        "rate", "pattern", "working-set", "threads", "seed", "memory", "huge", "fill", "warm-up"};
    const std::vector<std::string_view> list = memory::split_words(words);
    if (list.empty() || list[0].empty()) {
        return make_error(ErrorKind::kUsage,
                          "the size is missing: workload:SIZE, e.g. workload:2G");
    }
    WorkloadOptions options;
    MIGRATE_ASSIGN(options.spec.size_bytes, parse_bytes(list[0]));
    options.spec.working_set_bytes = options.spec.size_bytes;
    for (const std::string_view word : std::span(list).subspan(1)) {
        MIGRATE_ASSIGN(const KeyValue pair, memory::parse_key_value(uri, word, kKeys));
        MIGRATE_TRY(parse_word(uri, pair, options));
    }
    MIGRATE_TRY(check_limits(options.spec));
    MIGRATE_TRY(check_memory_kind(options));
    return options;
}

}  // namespace

Status check_limits(const WorkloadSpec& spec) {
    const auto usage = [](auto format, const auto&... values) {
        return Error(ErrorKind::kUsage, fmt::format(fmt::runtime(format), values...));
    };
    if (spec.size_bytes == 0 || spec.size_bytes % kPageSize != 0) {
        return usage("{} bytes is not a positive multiple of the page size, {}", spec.size_bytes,
                     kPageSize);
    }
    if (spec.threads < 1 || spec.threads > kMaxThreads) {
        return usage("threads={}: allowed are 1 to {}", spec.threads, kMaxThreads);
    }
    if (spec.working_set_bytes % kPageSize != 0 || spec.working_set_bytes > spec.size_bytes) {
        return usage("working-set={}: allowed are multiples of {} up to the size, {}",
                     spec.working_set_bytes, kPageSize, spec.size_bytes);
    }
    if (spec.working_set_pages() < spec.threads) {
        return usage("working-set={}: {} threads need at least {} bytes, a page each",
                     spec.working_set_bytes, spec.threads, spec.threads * kPageSize);
    }
    if (spec.rate_mib_s > kMaxRateMibS) {
        return usage("rate={}: allowed are 0 to {}", spec.rate_mib_s, kMaxRateMibS);
    }
    if (spec.pattern > Pattern::kHotSpot) {
        return usage("there is no pattern number {}", static_cast<unsigned>(spec.pattern));
    }
    if (spec.fill > Fill::kNone) {
        return usage("there is no fill number {}", static_cast<unsigned>(spec.fill));
    }
    return {};
}

Result<WorkloadOptions> parse_workload(std::string_view uri, std::string_view words) {
    Result<WorkloadOptions> options = parse_words(uri, words);
    // Errors of memory/uri.hpp already name the URI.
    if (options || options.error().message().starts_with(uri)) return options;
    return std::move(options).error().with_context(uri);
}

}  // namespace migrate::guest
