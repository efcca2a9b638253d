// SPDX-License-Identifier: Apache-2.0
// Finds the pages of a mapping that were ever written, without reading them; used by sources and
// sinks. Invariant: a page called unpopulated reads as zeros; a page in doubt is called populated.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/mutex.hpp"
#include "base/units.hpp"

namespace migrate::memory {

struct PopulationExtent {
    PageRange pages;
    bool populated = false;
};

// Appends extents that cover one range in order and without a gap, merging neighbours of one kind.
// Does not touch earlier content of the vector.
class PopulationBuilder {
  public:
    PopulationBuilder(PageRange range, std::vector<PopulationExtent>& extents)
        : next_(range.first), end_(range.end()), start_(extents.size()), extents_(extents) {}

    // Adds the pages from the end of the last call up to `end`. An `end` beyond the range is
    // clamped to it; one before the last end adds nothing.
    void extend_to(std::uint64_t end, bool populated);
    std::uint64_t next() const { return next_; }
    bool complete() const { return next_ == end_; }

  private:
    std::uint64_t next_;
    std::uint64_t end_;
    std::size_t start_;
    std::vector<PopulationExtent>& extents_;
};

// Finds holes of a file by SEEK_DATA; on a file system without it the file has none. Data that was
// found once is cached: SEEK_HOLE walks all data that follows, which for each span of a full file
// would be most of the file. A tmpfs file with as many blocks as pages has no hole, which saves the
// walk. Thread-safe: nobody uses the shared file offset that this moves.
class FilePopulation {
  public:
    // `fd` stays open longer than this object; `size_bytes` is the file's size when it was mapped.
    FilePopulation(int fd, std::uint64_t size_bytes)
        : fd_(fd), size_bytes_(size_bytes), known_(std::make_unique<Known>()) {}

    // An Error, not a hole, if the file became shorter; unless the range is known to be data.
    Status query(PageRange range, std::vector<PopulationExtent>& extents) const;
    // Call this after making a hole where data may have been found.
    void forget() const;

  private:
    struct Known {
        Mutex mutex;
        PageRange data GUARDED_BY(mutex);  // the last data found
    };
    Status find(PopulationBuilder& builder, PageRange range) const REQUIRES(known_->mutex);

    int fd_;
    std::uint64_t size_bytes_;
    std::unique_ptr<Known> known_;  // on the heap, so that this object can be moved
};

// Finds populated pages of this process's private anonymous memory by /proc/self/pagemap. Pages
// that map the kernel's zero page were never written; they are unpopulated if the kernel can report
// them (PAGEMAP_SCAN). Pages that a dirty tracker protected before anybody wrote to them are
// unpopulated too if the host has no swap; otherwise they look like swapped pages.
class PagemapPopulation {
  public:
    enum class Method { kScanIfAvailable, kReadEntries };

    static Result<PagemapPopulation> create(Method method = Method::kScanIfAvailable);

    // `memory` is the region, `range` pages of it. Thread-safe.
    Status query(std::span<const std::byte> memory, PageRange range,
                 std::vector<PopulationExtent>& extents) const;
    bool scans() const { return scans_; }

  private:
    PagemapPopulation(UniqueFd pagemap, bool scans) : pagemap_(std::move(pagemap)), scans_(scans) {}
    Status scan(std::span<const std::byte> memory, PopulationBuilder& builder,
                PageRange range) const;
    Status read_entries(std::span<const std::byte> memory, PopulationBuilder& builder,
                        PageRange range) const;

    UniqueFd pagemap_;
    bool scans_ = false;
};

}  // namespace migrate::memory
