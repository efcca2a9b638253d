// Which pages of a mapping were ever written, without reading them; shared by sources and sinks.
// Invariant: a page called unpopulated reads as zeros; whatever is in doubt is called populated.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"

namespace migrate::memory {

struct PopulationExtent {
    PageRange pages;
    bool populated = false;
};

// Appends extents that cover one range in order and without a gap, merging neighbours of one kind.
// What the vector held before is not touched.
class PopulationBuilder {
  public:
    PopulationBuilder(PageRange range, std::vector<PopulationExtent>& extents)
        : next_(range.first), end_(range.end()), start_(extents.size()), extents_(extents) {}

    // Pages from where the last call ended up to `end` (beyond the range: its end; before:
    // nothing).
    void extend_to(std::uint64_t end, bool populated);
    std::uint64_t next() const { return next_; }
    bool complete() const { return next_ == end_; }

  private:
    std::uint64_t next_;
    std::uint64_t end_;
    std::size_t start_;
    std::vector<PopulationExtent>& extents_;
};

// Holes of a file by SEEK_DATA; a file system without it has none. Data that was found once is not
// looked for again: SEEK_HOLE walks all of the data that follows, which for each span of a full
// file would be most of the file. Thread-safe: the shared offset it moves is of no use to anybody.
class FilePopulation {
  public:
    // `fd` stays open for longer; `size_bytes` is what the file had when it was mapped.
    FilePopulation(int fd, std::uint64_t size_bytes)
        : fd_(fd), size_bytes_(size_bytes), known_(std::make_unique<Known>()) {}

    // A file that became shorter is an Error and not a hole, where it was not known to have data.
    Status query(PageRange range, std::vector<PopulationExtent>& extents) const;
    // A hole was made where data may have been found.
    void forget() const;

  private:
    struct Known {
        std::mutex mutex;
        PageRange data;  // the last that was found; guarded by mutex
    };
    Status find(PopulationBuilder& builder, PageRange range) const;

    int fd_;
    std::uint64_t size_bytes_;
    std::unique_ptr<Known> known_;  // so that this can be moved
};

// Private anonymous memory of this process by /proc/self/pagemap. Pages that map the kernel's zero
// page were never written, and are unpopulated where the kernel can tell (PAGEMAP_SCAN).
// So are those that a dirty tracker protected before anybody wrote to them, if the host has no
// swap: they look like pages that are out on it.
class PagemapPopulation {
  public:
    enum class Method { kScanIfAvailable, kReadEntries };

    static Result<PagemapPopulation> create(Method method = Method::kScanIfAvailable);

    // `memory`: the region; `range`: pages of it. Thread-safe.
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
