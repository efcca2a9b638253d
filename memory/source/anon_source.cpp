// SPDX-License-Identifier: Apache-2.0
#include "memory/source/anon_source.hpp"

#include <array>
#include <cstring>

#include "base/config/form_tables.hpp"
#include "base/config/unit_text.hpp"
#include "base/log.hpp"
#include "base/splitmix64.hpp"
#include "memory/pieces.hpp"
#include "memory/sink/populate.hpp"
#include "memory/source/mapped_source.hpp"

namespace migrate::memory {
namespace {

// Memory from this size on may take seconds to fill, and a user is told what is waited for.
constexpr std::uint64_t kSlowToFill = kGiB;

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

AnonSourceSpec anon_source_spec(const ParsedForm& parsed) {
    const Words<kAnonSourceWords> words(parsed);
    AnonSourceSpec spec;
    spec.size_bytes = parsed.operand.value.number;
    spec.fill = words.get<"fill", AnonFill>();
    if (spec.fill == AnonFill::kMixed) spec.random_percent = words.get<"fill", unsigned>();
    spec.huge = words.get<"huge">() ? HugePages::kOn : HugePages::kOff;
    return spec;
}

Result<std::unique_ptr<PageSource>> open_anon_source(std::string_view uri,
                                                     const AnonSourceSpec& spec) {
    if (writes(spec.fill)) MIGRATE_TRY(check_fits_available_memory(spec.size_bytes, uri));
    if (spec.fill != AnonFill::kUntouched && spec.size_bytes >= kSlowToFill) {
        log::info("{}: making the guest's {} before a connection is made", uri,
                  format_bytes(spec.size_bytes));
    }
    MIGRATE_ASSIGN(auto source,
                   MappedSource::create(uri, MemoryKind::kAnon, spec.size_bytes, spec.huge));
    Status filled = fill_memory(source->bytes(), spec);
    if (!filled) return std::move(filled).error().with_context(uri);
    return std::unique_ptr<PageSource>(std::move(source));
}

}  // namespace migrate::memory
