// SPDX-License-Identifier: Apache-2.0
#include "memory/region_digest.hpp"

#include <algorithm>
#include <atomic>
#include <optional>

#include "base/catching.hpp"
#include "base/fault_guard.hpp"
#include "base/mutex.hpp"
#include "base/page_buffer.hpp"
#include "base/thread.hpp"
#include "memory/source/page_content.hpp"

namespace migrate::memory {
namespace {

// The amount that a worker takes at a time, and the amount that it reads between two checks of the
// stop token.
constexpr std::uint64_t kDigestChunkPages = 64 * kMiB / kPageSize;
constexpr std::uint64_t kReadPages = 2 * kMiB / kPageSize;

// SourceMemory and SinkMemory give the digest one interface to both kinds of memory.
class SourceMemory {
  public:
    explicit SourceMemory(const PageSource& source) : source_(source) {}
    std::span<const RegionInfo> regions() const { return source_.regions(); }
    Status population(RegionId region, PageRange range,
                      std::vector<PopulationExtent>& extents) const {
        return source_.population(region, range, extents);
    }

    // One per thread.
    class Reader {
      public:
        explicit Reader(const SourceMemory& memory)
            : source_(memory.source_), content_(memory.source_) {}
        Result<Digest> digest(RegionId region, PageRange range) {
            MIGRATE_ASSIGN(const std::byte* const content, content_.of(region, range));
            Digest sum;
            // The file may be truncated meanwhile. A guard is allowed because digest_content()
            // holds nothing.
            MIGRATE_TRY(
                guard_reads(source_.description(), [&] { sum = digest_content(content, range); }));
            return sum;
        }

      private:
        const PageSource& source_;
        PageContent content_;
    };

  private:
    const PageSource& source_;
};

class SinkMemory {
  public:
    SinkMemory(const PageSink& sink, std::span<const RegionInfo> regions)
        : sink_(sink), regions_(regions) {}
    std::span<const RegionInfo> regions() const { return regions_; }
    Status population(RegionId region, PageRange range,
                      std::vector<PopulationExtent>& extents) const {
        return sink_.population(region, range, extents);
    }

    // One per thread.
    class Reader {
      public:
        explicit Reader(const SinkMemory& memory) : sink_(memory.sink_) {}
        Result<Digest> digest(RegionId region, PageRange range) {
            Digest sum;
            if (!sink_.is_mapped(region)) {
                copy_.resize(range.size_bytes());
                MIGRATE_TRY(sink_.read(region, range, copy_));
                return digest_content(copy_.data(), range);
            }
            MIGRATE_TRY(guard_reads(sink_.description(),
                                    [&] { sum = digest_pages(sink_.memory(region), range); }));
            return sum;
        }

      private:
        const PageSink& sink_;
        PageBuffer copy_;
    };

  private:
    const PageSink& sink_;
    std::span<const RegionInfo> regions_;
};

// The work of all threads: the chunks of all regions in sequence, handed out by a counter.
template <typename Memory>
class DigestJob {
  public:
    DigestJob(const Memory& memory, std::stop_token stop)
        : memory_(memory), stop_(std::move(stop)), sums_(memory.regions().size()) {
        for (const RegionInfo& region : memory.regions()) {
            first_chunk_.push_back(chunks_);
            chunks_ += (region.pages() + kDigestChunkPages - 1) / kDigestChunkPages;
        }
    }

    // Pass an Error to fail().
    Status work() {
        std::vector<Digest> sums(memory_.regions().size());
        MIGRATE_TRY(digest_chunks(sums));
        const MutexLock lock(mutex_);
        for (std::size_t i = 0; i < sums.size(); ++i) sums_[i] += sums[i];
        return {};
    }
    // Records the error and ends the other threads' work, too.
    void fail(Error error) {
        next_.store(chunks_, std::memory_order_relaxed);
        const MutexLock lock(mutex_);
        if (!error_) error_ = std::move(error);
    }

    // Call this after every work() has returned.
    Result<std::vector<Digest>> result() {
        const MutexLock lock(mutex_);
        if (error_) return *std::move(error_);
        return std::move(sums_);
    }

  private:
    Status digest_chunks(std::vector<Digest>& sums) {
        typename Memory::Reader reader(memory_);
        std::vector<PopulationExtent> extents;
        for (;;) {
            const std::uint64_t chunk = next_.fetch_add(1, std::memory_order_relaxed);
            if (chunk >= chunks_) return {};
            const auto after = std::upper_bound(first_chunk_.begin(), first_chunk_.end(), chunk);
            const auto index = static_cast<std::size_t>(after - first_chunk_.begin()) - 1;
            const std::uint64_t first = (chunk - first_chunk_[index]) * kDigestChunkPages;
            const std::uint64_t pages = memory_.regions()[index].pages();
            const PageRange range{first, std::min(kDigestChunkPages, pages - first)};
            extents.clear();
            const auto region = static_cast<RegionId>(index);
            MIGRATE_TRY(memory_.population(region, range, extents));
            for (const PopulationExtent& extent : extents) {
                if (!extent.populated) continue;
                MIGRATE_TRY(digest_extent(reader, region, extent.pages, sums[index]));
            }
            if (stop_.stop_requested()) return cancelled();
        }
    }

    Status digest_extent(typename Memory::Reader& reader, RegionId region, PageRange extent,
                         Digest& sum) const {
        for (std::uint64_t page = extent.first; page < extent.end(); page += kReadPages) {
            if (stop_.stop_requested()) return cancelled();
            MIGRATE_ASSIGN(
                const Digest part,
                reader.digest(region, {page, std::min(kReadPages, extent.end() - page)}));
            sum += part;
        }
        return {};
    }

    static Error cancelled() { return {ErrorKind::kCancelled, "the digest was cancelled"}; }

    const Memory& memory_;
    std::stop_token stop_;
    std::uint64_t chunks_ = 0;                // constant after construction, as is first_chunk_
    std::vector<std::uint64_t> first_chunk_;  // number of each region's first chunk
    std::atomic<std::uint64_t> next_{0};      // relaxed: hands out numbers, orders nothing
    Mutex mutex_;
    std::vector<Digest> sums_ GUARDED_BY(mutex_);
    std::optional<Error> error_ GUARDED_BY(mutex_);
};

template <typename Memory>
Result<std::vector<Digest>> digest_all(const Memory& memory, unsigned threads,
                                       std::stop_token stop) {
    DigestJob<Memory> job(memory, std::move(stop));
    {
        const auto fail = [&job](Error error) { job.fail(std::move(error)); };
        const auto helpers = start_helpers(
            "digest", threads - 1, [&job](const std::stop_token&) { return job.work(); }, fail);
        Status own = catching("the digest", [&job] { return job.work(); });
        if (!own) fail(std::move(own).error());
    }
    return job.result();
}

}  // namespace

Result<std::vector<Digest>> digest_source(const PageSource& source, unsigned threads,
                                          std::stop_token stop) {
    return digest_all(SourceMemory(source), threads, std::move(stop));
}

Result<std::vector<Digest>> digest_sink(const PageSink& sink, std::span<const RegionInfo> regions,
                                        unsigned threads, std::stop_token stop) {
    if (sink.discards()) return make_error("{} keeps no pages to compare", sink.description());
    return digest_all(SinkMemory(sink, regions), threads, std::move(stop));
}

}  // namespace migrate::memory
