#include "memory/anon_source.hpp"

#include <sys/mman.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <mutex>
#include <optional>
#include <thread>

#include "base/config/unit_text.hpp"
#include "base/fd.hpp"
#include "base/thread.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/populate.hpp"
#include "memory/uri.hpp"

namespace migrate::memory {
namespace {

constexpr std::array<std::string_view, 5> kFills{"untouched", "read", "zero", "random",
                                                 "mixed:RATIO"};
constexpr std::string_view kMixedPrefix = "mixed:";

class AnonSource final : public PageSource {
  public:
    AnonSource(std::string_view uri, Mapping mapping, PagemapPopulation pagemap)
        : uri_(uri),
          mapping_(std::move(mapping)),
          pagemap_(std::move(pagemap)),
          region_{"ram", mapping_.size()} {}

    std::string_view description() const override { return uri_; }
    std::span<const RegionInfo> regions() const override { return {&region_, 1}; }
    std::span<const std::byte> memory(RegionId) const override { return mapping_.bytes(); }
    Status population(RegionId, PageRange range,
                      std::vector<PopulationExtent>& extents) const override {
        return pagemap_.query(mapping_.bytes(), range, extents);
    }
    bool populated_is_present() const override { return true; }
    Status prefault(RegionId, PageRange range) const override {
        const int code =
            populate(mapping_.bytes().subspan(range.offset_bytes(), range.size_bytes()),
                     PopulateFor::kReading);
        if (code != 0) return Error::system(fmt::format("read the memory of {}", uri_), code);
        return {};
    }

  private:
    std::string uri_;
    Mapping mapping_;
    PagemapPopulation pagemap_;
    RegionInfo region_;
};

// splitmix64 (Steele, Lea, Flood 2014): spreads page numbers over the seeds of write_random_page().
std::uint64_t splitmix64(std::uint64_t x) {
    x += 0x9E3779B97F4A7C15U;
    x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31U);
}

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
                      list_of_words(kFills));
}

bool writes(AnonFill fill) { return fill != AnonFill::kUntouched && fill != AnonFill::kRead; }

// Told now, rather than by the kernel's OOM killer in the middle of the fill.
Status check_fits_ram(std::string_view uri, std::uint64_t size) {
    std::ifstream meminfo("/proc/meminfo");
    std::string key;
    std::uint64_t kib = 0;
    std::string unit;
    while (meminfo >> key >> kib) {
        std::getline(meminfo, unit);
        if (key != "MemAvailable:") continue;
        if (size <= kib * kKiB) return {};
        return make_error(
            "{}: its {} MiB are to be written and do not fit the {} MiB of memory available", uri,
            size / kMiB, kib / kKiB);
    }
    return {};
}

Status fill_piece(std::span<std::byte> memory, PageRange piece, const AnonSourceSpec& spec) {
    const auto bytes = memory.subspan(piece.offset_bytes(), piece.size_bytes());
    const auto purpose = writes(spec.fill) ? PopulateFor::kWriting : PopulateFor::kReading;
    // A page populated for writing is a page of written zeros.
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
    constexpr std::uint64_t kPiecePages = 8 * kMiB / kPageSize;
    const std::uint64_t pages = memory.size() / kPageSize;
    std::atomic<std::uint64_t> next{
        0};  // relaxed: it only hands out pieces; the joins order the content
    std::mutex mutex;
    std::optional<Error> error;  // guarded by mutex
    const auto work = [&] {
        for (;;) {
            const std::uint64_t first = next.fetch_add(kPiecePages, std::memory_order_relaxed);
            if (first >= pages) return;
            Status status = fill_piece(memory, {first, std::min(kPiecePages, pages - first)}, spec);
            if (status) continue;
            next.store(pages, std::memory_order_relaxed);
            const std::scoped_lock lock(mutex);
            error = std::move(status).error();
        }
    };
    {
        std::vector<std::jthread> threads;
        const unsigned count = std::clamp(std::thread::hardware_concurrency(), 2U, 16U);
        for (unsigned i = 0; i < count; ++i) {
            threads.emplace_back([&work, i] {
                name_this_thread(fmt::format("fill_{}", i));
                work();
            });
        }
    }
    if (error) return *std::move(error);
    return {};
}

}  // namespace

void write_random_page(std::span<std::byte, kPageSize> to, std::uint64_t page) {
    // Eight xorshift64 generators (Marsaglia 2003) side by side, two to a vector of the x86-64
    // baseline (left to itself, GCC 12 keeps them scalar). An xorshift state is never zero if its
    // seed is not.
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
    if (writes(spec.fill)) MIGRATE_TRY(check_fits_ram(uri, spec.size_bytes));
    MIGRATE_ASSIGN(Mapping mapping, map_anonymous(spec.size_bytes, spec.huge, uri));
    MIGRATE_ASSIGN(PagemapPopulation pagemap, PagemapPopulation::create());
    Status filled = fill_memory(mapping.bytes(), spec);
    if (!filled) return std::move(filled).error().with_context(uri);
    return std::unique_ptr<PageSource>(
        std::make_unique<AnonSource>(uri, std::move(mapping), std::move(pagemap)));
}

}  // namespace migrate::memory
