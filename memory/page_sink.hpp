// Guest memory on the receiving side: where pages are placed, and how the result is made visible.
// Invariant: nothing appears under the user's name before commit(); destroyed uncommitted, a sink
// leaves what was there before as it was, and nothing of its own behind.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/file_identity.hpp"
#include "base/units.hpp"
#include "memory/population.hpp"

namespace migrate::memory {

struct SinkFile {
    FileIdentity identity;
    std::string path;  // for messages
};

class PageSink {
  public:
    PageSink() = default;
    PageSink(const PageSink&) = delete;
    PageSink& operator=(const PageSink&) = delete;
    virtual ~PageSink() = default;

    // What it is, for reports: the URI it was made from.
    virtual std::string_view description() const = 0;
    // The files that are there already and that it is going to write to or to replace. Before
    // prepare().
    virtual Result<std::vector<SinkFile>> files() const { return std::vector<SinkFile>(); }
    // Makes room for the regions, zero-filled, without touching it: sizes come from the peer and
    // are not believed to be backed. Called once, before anything else below.
    virtual Status prepare(std::span<const RegionInfo> regions) = 0;
    // True if pages are counted and checked but kept nowhere; memory() is then empty.
    virtual bool discards() const = 0;
    // Whether a guest can go on in this memory, in this process, once it is complete.
    virtual bool hosts_guest() const { return false; }
    // The region's memory, page-aligned and writable.
    virtual std::span<std::byte> memory(RegionId region) const = 0;
    // Before pages are written: an Error if another process than the one that the memory belongs to
    // has come to use it since prepare(). Costs a system call. Thread-safe.
    virtual Status check_sole_use() const { return {}; }
    // Makes fresh pages present before they are written, in one step; a full disk or exhausted
    // memory is an Error here and not a signal later. Thread-safe.
    virtual Status prefault(RegionId region, PageRange range) const = 0;
    // Makes pages that hold something zero again; long runs by giving the memory back. Thread-safe.
    virtual Status clear(RegionId region, PageRange range) const = 0;
    // As PageSource::population(), for the digest; no page of the range is being written meanwhile.
    // A sink that cannot tell calls everything populated. Thread-safe.
    virtual Status population(RegionId region, PageRange range,
                              std::vector<PopulationExtent>& extents) const {
        static_cast<void>(region);
        extents.push_back({range, true});
        return {};
    }
    // The last byte is in place and checked: makes the result durable and visible under its name.
    virtual Status commit() = 0;
};

// The kinds that open_page_sink() knows.
inline constexpr std::array<std::string_view, 4> kSinkSchemes{"file", "anon", "memfd", "null"};

// Opens what `--sink` names: "file:PATH" or a bare path, "anon:" (private memory, huge pages where
// it can; "anon:huge=off" for 4 KiB pages), "memfd:" (shared memory, same words), or "null:".
// Checks at once what can be checked before a sender comes (folder exists and is writable, target
// is not a folder).
Result<std::unique_ptr<PageSink>> open_page_sink(std::string_view uri);

}  // namespace migrate::memory
