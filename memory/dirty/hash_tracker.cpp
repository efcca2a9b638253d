// SPDX-License-Identifier: Apache-2.0
#include "memory/dirty/hash_tracker.hpp"

#include <sys/mman.h>
#include <xxhash.h>

#include <algorithm>
#include <array>

#include "base/fault_guard.hpp"
#include "base/fd.hpp"
#include "memory/pieces.hpp"
#include "memory/source/page_content.hpp"

namespace migrate::memory {
namespace {

// The amount that a worker takes at a time.
constexpr std::uint64_t kHashChunkPages = 8 * kMiB / kPageSize;
constexpr std::uint64_t kCopiedPages = 512 * kKiB / kPageSize;

XXH128_hash_t hash_page(const std::byte* page) { return XXH3_128bits(page, kPageSize); }

XXH128_hash_t zero_hash() {
    alignas(64) static constexpr std::array<std::byte, kPageSize> kZeros{};
    static const XXH128_hash_t hash = hash_page(kZeros.data());
    return hash;
}

bool equal(const XXH128_hash_t& a, const XXH128_hash_t& b) {
    return a.low64 == b.low64 && a.high64 == b.high64;
}

// The content of a region at the destination, which begins as zeros.
class SentPages {
  public:
    static Result<SentPages> create(std::uint64_t pages) {
        MIGRATE_ASSIGN(Mapping hashes,
                       Mapping::create({.size = pages * sizeof(XXH128_hash_t),
                                        .protection = PROT_READ | PROT_WRITE,
                                        .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                        .what = fmt::format("hashes of {} pages", pages)}));
        MIGRATE_ASSIGN(PageBitmap non_zero, PageBitmap::create(pages));
        return SentPages(std::move(hashes), std::move(non_zero));
    }

    bool holds(std::uint64_t page, const XXH128_hash_t& hash) const {
        return equal(hash, non_zero_.test(page) ? hashes()[page] : zero_hash());
    }
    void set(std::uint64_t page, const XXH128_hash_t& hash) {
        if (equal(hash, zero_hash())) {
            non_zero_.clear({page, 1});
        } else {
            hashes()[page] = hash;
            non_zero_.set({page, 1});
        }
    }
    void set_zero(PageRange pages) { non_zero_.clear(pages); }
    const PageBitmap& non_zero() const { return non_zero_; }

  private:
    SentPages(Mapping hashes, PageBitmap non_zero)
        : hashes_(std::move(hashes)), non_zero_(std::move(non_zero)) {}
    XXH128_hash_t* hashes() const {
        return static_cast<XXH128_hash_t*>(static_cast<void*>(hashes_.data()));
    }

    Mapping hashes_;       // one XXH128_hash_t per page, valid where non_zero_ is set
    PageBitmap non_zero_;  // pages that are not zero at the destination
};

// One collect(): chunks of populated memory, handed out by a counter.
class Comparison {
  public:
    Comparison(const PageSource& source, std::span<const SentPages> sent,
               std::span<PageBitmap> dirty, std::stop_token stop)
        : source_(source), sent_(sent), dirty_(dirty), stop_(std::move(stop)) {}

    // Called once. Queries each region as a whole: in a file, finding the start of a hole costs a
    // walk up to there, however small the range is.
    Status find_chunks() {
        std::vector<PopulationExtent> extents;
        for (std::size_t i = 0; i < source_.regions().size(); ++i) {
            if (stop_.stop_requested()) return cancelled();
            extents.clear();
            MIGRATE_TRY(source_.population(static_cast<RegionId>(i),
                                           {0, source_.regions()[i].pages()}, extents));
            for (const PopulationExtent& extent : extents) {
                if (extent.populated) {
                    add_chunks(i, extent.pages);
                } else {
                    compare_zeros(i, extent.pages);
                }
            }
        }
        return {};
    }

    Status compare_chunks() {
        return for_each_piece("hash", chunks_.size(), 1, [this](PageRange piece) {
            if (stop_.stop_requested()) return Status(cancelled());
            const Chunk& chunk = chunks_[piece.first];
            return compare_content(chunk.region, chunk.pages);
        });
    }

  private:
    static Error cancelled() { return Error(ErrorKind::kCancelled, "cancelled"); }

    struct Chunk {
        std::size_t region = 0;
        PageRange pages;
    };

    void add_chunks(std::size_t region, PageRange pages) {
        for (std::uint64_t first = pages.first; first < pages.end(); first += kHashChunkPages) {
            chunks_.push_back({region, {first, std::min(kHashChunkPages, pages.end() - first)}});
        }
    }

    Status compare_content(std::size_t index, PageRange pages) {
        const auto region = static_cast<RegionId>(index);
        if (!source_.is_mapped(region)) return compare_copies(index, pages);
        if (!source_.populated_is_present()) MIGRATE_TRY(source_.prefault(region, pages));
        const std::byte* memory = source_.memory(region).data() + pages.offset_bytes();
        return guard_reads(source_.description(), [&] { compare_at(index, pages, memory); });
    }

    void compare_at(std::size_t index, PageRange pages, const std::byte* content) {
        for (std::uint64_t page = pages.first; page < pages.end(); ++page, content += kPageSize) {
            if (!sent_[index].holds(page, hash_page(content))) dirty_[index].set({page, 1});
        }
    }

    // Copies and compares in steps that fit into the CPU's cache.
    Status compare_copies(std::size_t index, PageRange pages) {
        PageContent content(source_);
        return for_each_step(pages, kCopiedPages, [&](PageRange step) -> Status {
            MIGRATE_ASSIGN(const std::byte* const at,
                           content.of(static_cast<RegionId>(index), step));
            compare_at(index, step, at);
            return {};
        });
    }

    // Does not read unpopulated memory: the pages that are not zero at the destination are dirty.
    void compare_zeros(std::size_t index, PageRange pages) {
        const PageBitmap& non_zero = sent_[index].non_zero();
        std::uint64_t page = non_zero.find(pages.first, pages.end(), true);
        while (page < pages.end()) {
            dirty_[index].set({page, 1});
            page = non_zero.find(page + 1, pages.end(), true);
        }
    }

    const PageSource& source_;
    std::span<const SentPages> sent_;
    std::span<PageBitmap> dirty_;
    std::stop_token stop_;
    std::vector<Chunk> chunks_;  // constant after find_chunks()
};

class HashTracker final : public DirtyTracker {
  public:
    HashTracker(const PageSource& source, std::vector<SentPages> sent)
        : source_(source), sent_(std::move(sent)) {}

    std::string_view name() const override { return name_of(TrackerName::kHash); }
    // The destination starts empty, so there is nothing to record.
    Status start() override { return {}; }

    Status collect(std::span<PageBitmap> dirty, const std::stop_token& stop) override {
        Comparison comparison(source_, sent_, dirty, stop);
        MIGRATE_TRY(comparison.find_chunks());
        return comparison.compare_chunks();
    }

    void stop() override {}

    bool needs_sent() const override { return true; }

    void sent(RegionId region, PageRange pages, std::span<const std::byte> content) override {
        SentPages& sent = sent_[index_of(region)];
        if (content.empty()) {
            sent.set_zero(pages);
            return;
        }
        for (std::uint64_t i = 0; i < pages.count; ++i) {
            sent.set(pages.first + i, hash_page(content.data() + i * kPageSize));
        }
    }

  private:
    const PageSource& source_;
    // One per region. A page's entry belongs to the thread that calls sent() for it; the senders
    // have stopped, by a barrier, before collect() reads them all.
    std::vector<SentPages> sent_;
};

}  // namespace

Result<std::unique_ptr<DirtyTracker>> make_hash_tracker(const PageSource& source) {
    std::vector<SentPages> sent;
    for (const RegionInfo& region : source.regions()) {
        MIGRATE_ASSIGN(SentPages pages, SentPages::create(region.pages()));
        sent.push_back(std::move(pages));
    }
    return std::unique_ptr<DirtyTracker>(std::make_unique<HashTracker>(source, std::move(sent)));
}

DirtyTrackerSupport probe_hash() {
    return {.name = std::string(name_of(TrackerName::kHash)),
            .usable = true,
            .detail =
                "reads and compares all memory each round; needs nothing of the kernel, and "
                "16 bytes a page"};
}

}  // namespace migrate::memory
