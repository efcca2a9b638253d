// Guest memory on the sending side: regions mapped in this process, and which of their pages were
// ever written. Invariant: memory that population() calls unpopulated reads as zeros, and is never
// touched by the sender.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/file_identity.hpp"
#include "base/units.hpp"
#include "memory/foreign_mapping.hpp"
#include "memory/population.hpp"

namespace migrate::memory {

class PageSource {
  public:
    PageSource() = default;
    PageSource(const PageSource&) = delete;
    PageSource& operator=(const PageSource&) = delete;
    virtual ~PageSource() = default;

    // What it is, for reports: the URI it was made from.
    virtual std::string_view description() const = 0;
    virtual std::span<const RegionInfo> regions() const = 0;
    // The region's memory; page-aligned, readable for the life of the source.
    virtual std::span<const std::byte> memory(RegionId region) const = 0;
    // Appends to `extents` the pages of `range`, in order and without a gap, split where memory
    // that was written and memory that never was meet. Thread-safe.
    virtual Status population(RegionId region, PageRange range,
                              std::vector<PopulationExtent>& extents) const = 0;
    // What was given back by now is no longer called populated: what is known from earlier
    // questions is forgotten. Thread-safe.
    virtual void look_again() const {}
    // True if pages that population() calls populated are mapped in this process and cannot fail to
    // be read: they need no prefault(), which costs more than scanning them does.
    virtual bool populated_is_present() const { return false; }
    // Makes the pages present in this process before they are read, so that a read error or a file
    // truncated under us is an Error here and not a signal later. Thread-safe.
    virtual Status prefault(RegionId region, PageRange range) const = 0;
    // The most memory that one read of a page that has none may bring into being: the size of a
    // page of the kernel's.
    virtual std::uint64_t largest_page_bytes() const { return 2 * kMiB; }
    // Whether read() is the cheaper way to content that is looked at once: mapping a page and
    // unmapping it costs more than copying it into memory that is in the cache.
    virtual bool prefers_read() const { return false; }
    // Copies the pages to `to`. Thread-safe.
    virtual Status read(RegionId region, PageRange range, std::byte* to) const;
    // The file that the region lies in; nothing for private memory.
    virtual std::optional<FileIdentity> file_of(RegionId region) const {
        static_cast<void>(region);
        return std::nullopt;
    }
    // After the last read: an Error if the source is not what was opened any more, so that the copy
    // may hold what it never was.
    virtual Status check_unchanged() const { return {}; }
    // The process that writes this memory while it is sent; null: this one.
    virtual const MemoryOwner* owner() const { return nullptr; }
};

// The kinds that open_page_source() knows; a guest of its own kind is for src/guest to open.
inline constexpr std::array<std::string_view, 2> kSourceSchemes{"file", "anon"};

// Opens what `--source` names: "file:PATH" or a bare path (regular, sparse, tmpfs or hugetlbfs file
// whose size is a multiple of the page size), or
// "anon:SIZE[,fill=untouched|read|zero|random|mixed:RATIO][,huge=on|off]", a synthetic guest:
// untouched (default): never touched; read: read once, so that only the kernel's zero page is
// mapped; zero: zeros written; random: no page is zero; mixed:RATIO: RATIO percent of the pages
// random, the rest written zeros, spread evenly. The content depends only on SIZE, fill and the
// page's number.
Result<std::unique_ptr<PageSource>> open_page_source(std::string_view uri);

}  // namespace migrate::memory
