#include "memory/source/anon_source.hpp"

#include <array>
#include <charconv>
#include <cstring>

#include "base/config/unit_text.hpp"
#include "base/join_words.hpp"
#include "base/splitmix64.hpp"
#include "memory/pieces.hpp"
#include "memory/sink/populate.hpp"
#include "memory/source/mapped_source.hpp"
#include "memory/uri.hpp"

namespace migrate::memory {
namespace {

constexpr std::array<std::string_view, 5> kFills{"untouched", "read", "zero", "random",
                                                 "mixed:RATIO"};
constexpr std::string_view kMixedPrefix = "mixed:";

Result<unsigned> parse_percent(std::string_view uri, std::string_view text) {
    unsigned percent = 0;
    const char* end = text.data() + text.size();
    const auto [stopped, code] = std::from_chars(text.data(), end, percent);
    if (text.empty() || code != std::errc{} || stopped != end || percent > 100) {
        return make_error(ErrorKind::kUsage,
                          "{}: fill=mixed:{}: the ratio is a whole number from 0 to 100", uri,
                          text);
    }
    return percent;
}

Status parse_fill(std::string_view uri, std::string_view value, AnonSourceSpec& spec) {
    if (value.substr(0, kMixedPrefix.size()) == kMixedPrefix) {
        MIGRATE_ASSIGN(spec.random_percent, parse_percent(uri, value.substr(kMixedPrefix.size())));
        spec.fill = AnonFill::kMixed;
        return {};
    }
    constexpr std::array kSimple{AnonFill::kUntouched, AnonFill::kRead, AnonFill::kZero,
                                 AnonFill::kRandom};
    for (std::size_t i = 0; i < kSimple.size(); ++i) {
        if (value != kFills[i]) continue;
        spec.fill = kSimple[i];
        return {};
    }
    return make_error(ErrorKind::kUsage, "{}: unknown fill '{}'; allowed are {}", uri, value,
                      join_words(kFills, "and"));
}

bool writes(AnonFill fill) { return fill != AnonFill::kUntouched && fill != AnonFill::kRead; }

Status fill_piece(std::span<std::byte> memory, PageRange piece, const AnonSourceSpec& spec) {
    const auto bytes = memory.subspan(piece.offset_bytes(), piece.size_bytes());
    const auto purpose = writes(spec.fill) ? PopulateFor::kWriting : PopulateFor::kReading;
    // A page that is populated for writing counts as written with zeros.
    const int code = populate(bytes, purpose);
    if (code != 0) return Error::system("fill the memory", code);
    if (!writes(spec.fill) || spec.fill == AnonFill::kZero) return {};
    for (std::uint64_t page = piece.first; page < piece.end(); ++page) {
        if (spec.fill == AnonFill::kMixed && !is_random_page(page, spec.random_percent)) continue;
        write_random_page(memory.subspan(page * kPageSize).first<kPageSize>(), page);
    }
    return {};
}

Status fill_memory(std::span<std::byte> memory, const AnonSourceSpec& spec) {
    if (spec.fill == AnonFill::kUntouched) return {};
    return for_each_piece("fill", memory.size() / kPageSize, 8 * kMiB / kPageSize,
                          [&](PageRange piece) { return fill_piece(memory, piece, spec); });
}

}  // namespace

void write_random_page(std::span<std::byte, kPageSize> to, std::uint64_t page) {
    // Eight xorshift64 generators (Marsaglia 2003) side by side, two per vector of the x86-64
    // baseline (without the vector type GCC 12 emits scalar code). An xorshift state is never zero
    // if its seed is not; splitmix64 spreads the page numbers over the seeds.
    using Pair [[gnu::vector_size(16)]] = std::uint64_t;
    constexpr std::size_t kPairs = 4;
    std::array<Pair, kPairs> state;
    for (std::size_t i = 0; i < kPairs; ++i) {
        const std::uint64_t seed = page * kPairs * 2 + i * 2;
        state[i] = Pair{splitmix64(seed) | 1U, splitmix64(seed + 1) | 1U};
    }
    for (std::size_t at = 0; at < kPageSize; at += sizeof state) {
        for (std::size_t i = 0; i < kPairs; ++i) {
            Pair x = state[i];
            x ^= x << 13U;
            x ^= x >> 7U;
            x ^= x << 17U;
            state[i] = x;
            std::memcpy(to.data() + at + i * sizeof x, &x, sizeof x);
        }
    }
}

Result<AnonSourceSpec> parse_anon_source(std::string_view uri, std::string_view words) {
    constexpr std::array<std::string_view, 2> kKeys{"fill", "huge"};
    const std::vector<std::string_view> list = split_words(words);
    if (list.empty() || list[0].empty()) {
        return make_error(ErrorKind::kUsage, "{}: the size is missing: anon:SIZE, e.g. anon:4G",
                          uri);
    }
    AnonSourceSpec spec;
    Result<std::uint64_t> size = parse_bytes(list[0]);
    if (!size) return std::move(size).error().with_context(uri);
    spec.size_bytes = *size;
    if (spec.size_bytes == 0 || spec.size_bytes % kPageSize != 0) {
        return make_error(ErrorKind::kUsage,
                          "{}: {} bytes is not a positive multiple of the page size, {}", uri,
                          spec.size_bytes, kPageSize);
    }
    for (const std::string_view word : std::span(list).subspan(1)) {
        MIGRATE_ASSIGN(const KeyValue pair, parse_key_value(uri, word, kKeys));
        if (pair.key == "fill") {
            MIGRATE_TRY(parse_fill(uri, pair.value, spec));
        } else {
            MIGRATE_ASSIGN(const bool on, parse_switch(uri, pair));
            spec.huge = on ? HugePages::kOn : HugePages::kOff;
        }
    }
    return spec;
}

Result<std::unique_ptr<PageSource>> open_anon_source(std::string_view uri,
                                                     const AnonSourceSpec& spec) {
    if (writes(spec.fill)) MIGRATE_TRY(check_fits_available_memory(spec.size_bytes, uri));
    MIGRATE_ASSIGN(auto source,
                   MappedSource::create(uri, MemoryKind::kAnon, spec.size_bytes, spec.huge));
    Status filled = fill_memory(source->bytes(), spec);
    if (!filled) return std::move(filled).error().with_context(uri);
    return std::unique_ptr<PageSource>(std::move(source));
}

}  // namespace migrate::memory
