// SPDX-License-Identifier: Apache-2.0
// Guest memory on the sending side: regions, mostly mapped in this process, and the set of their
// pages that were ever written. Invariant: memory that population() calls unpopulated reads as
// zeros, and the sender never touches it.
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
#include "memory/foreign/foreign_mapping.hpp"
#include "memory/source/population.hpp"

namespace migrate::memory {

class DirtyTracker;

class PageSource {
  public:
    PageSource() = default;
    PageSource(const PageSource&) = delete;
    PageSource& operator=(const PageSource&) = delete;
    virtual ~PageSource() = default;

    // The URI that the source was made from, for reports.
    virtual std::string_view description() const = 0;
    virtual std::span<const RegionInfo> regions() const = 0;
    // False if the region's memory is not mapped in this process: memory() is then empty,
    // prefault() does nothing, and only read() gives the content.
    virtual bool is_mapped(RegionId region) const {
        static_cast<void>(region);
        return true;
    }
    // The region's memory; page-aligned and readable for the life of the source.
    virtual std::span<const std::byte> memory(RegionId region) const = 0;
    // Appends to `extents` the pages of `range`, in order and without a gap, split at each border
    // between written and never written memory. Thread-safe.
    virtual Status population(RegionId region, PageRange range,
                              std::vector<PopulationExtent>& extents) const = 0;
    // True if reading a page that population() calls unpopulated would allocate memory of a guest
    // that runs: such a page is not read, not even with skip-unpopulated=off.
    virtual bool reading_fills_holes() const { return false; }
    // Discards cached results of population(), so that memory that was given back is no longer
    // called populated. Thread-safe.
    virtual void look_again() const {}
    // True if pages that population() calls populated are mapped in this process and cannot fail to
    // be read: they need no prefault(), which would cost more than scanning them.
    virtual bool populated_is_present() const { return false; }
    // Makes the pages present in this process before they are read, so that a read error or a file
    // truncated under us is an Error here and not a signal later. Thread-safe.
    virtual Status prefault(RegionId region, PageRange range) const = 0;
    // Most memory, in bytes, that reading one missing page may allocate: the size of the kernel's
    // page there.
    virtual std::uint64_t largest_page_bytes() const { return 2 * kMiB; }
    // True if read() is the better way to content that is used once, although the memory is mapped.
    // `holes_too`: pages that population() calls unpopulated are read as well.
    virtual bool prefers_read(bool holes_too) const {
        static_cast<void>(holes_too);
        return false;
    }
    // Copies the pages to `to`. Thread-safe.
    virtual Status read(RegionId region, PageRange range, std::byte* to) const;
    // The file that holds the region; nothing for private memory.
    virtual std::optional<FileIdentity> file_of(RegionId region) const {
        static_cast<void>(region);
        return std::nullopt;
    }
    // Checks after the last read: an Error if the source is no longer what was opened, so that the
    // copy may hold content that the source never had as a whole.
    virtual Status check_unchanged() const { return {}; }
    // True if nobody may write this memory while it is sent, so that no dirty tracker is needed:
    // check_unchanged() detects a write.
    virtual bool is_constant() const { return false; }
    // The process that writes this memory while it is sent; null: this process.
    virtual const MemoryOwner* owner() const { return nullptr; }
    // Makes the tracker with which the memory's owner itself reports writes; no other tracker is
    // used then. Null: the owner has none.
    virtual std::unique_ptr<DirtyTracker> make_own_tracker() const;
};

// Opens the source that `--source` names, if it is memory alone: of kSourceForms
// (base/config/form_tables.hpp) file: (regular, sparse, tmpfs or hugetlbfs file whose size is a
// multiple of the page size) and anon:, a synthetic guest. The content of anon: depends only on
// SIZE, fill and the page's number. With fill=read the memory is read once, so that only the
// kernel's zero page is mapped; with fill=mixed:N the random pages are spread evenly.
Result<std::unique_ptr<PageSource>> open_page_source(std::string_view uri);

}  // namespace migrate::memory
