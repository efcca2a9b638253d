// SPDX-License-Identifier: Apache-2.0
// Guest memory on the receiving side: the place where pages are put and the way the result becomes
// visible. Invariant: nothing appears under the user's name before commit(). A sink that is
// destroyed without commit() leaves the earlier content unchanged and nothing of its own behind.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/file_identity.hpp"
#include "base/units.hpp"
#include "memory/backing_kind.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/sink/known_pages.hpp"
#include "memory/sink/room.hpp"
#include "memory/source/population.hpp"

namespace migrate::memory {

struct SinkFile {
    FileIdentity identity;
    std::string path;          // for messages
    bool is_replaced = false;  // a new file takes its place: nothing is written to this one
};

class PageSink {
  public:
    PageSink() = default;
    PageSink(const PageSink&) = delete;
    PageSink& operator=(const PageSink&) = delete;
    virtual ~PageSink() = default;

    // The URI that the sink was made from, for reports.
    virtual std::string_view description() const = 0;
    // Existing files that the sink will write to or replace. Call it before prepare().
    virtual Result<std::vector<SinkFile>> files() const { return std::vector<SinkFile>(); }
    // From now on a requested stop ends prepare() with kCancelled soon, also if it clears memory
    // that another process filled before.
    virtual void obey(std::stop_token stop) { static_cast<void>(stop); }
    // Called before prepare(): a text that tells sources apart, for messages.
    virtual void name_source(std::string source) { static_cast<void>(source); }
    // Makes room for the regions, zero-filled, without touching it: the sizes come from the peer,
    // so they are not assumed to be backed. Called once, before anything else below.
    virtual Status prepare(std::span<const RegionInfo> regions) = 0;
    // The known limits of how much of the regions can be filled. Called after prepare().
    virtual std::vector<Room> rooms() const { return {}; }
    // True if pages are counted and checked but not kept; memory() is then empty.
    virtual bool discards() const = 0;
    // True if a guest can continue in this memory, in this process, once the memory is complete.
    virtual bool hosts_guest() const { return false; }
    // False if the region's memory is not mapped in this process: memory() is then empty, and only
    // write() and read() reach it.
    virtual bool is_mapped(RegionId region) const {
        static_cast<void>(region);
        return true;
    }
    // Only for regions that are not mapped: sets the content of pages, and reads it. Thread-safe.
    virtual Status write(RegionId region, PageRange range,
                         std::span<const std::byte> content) const {
        static_cast<void>(region), static_cast<void>(range), static_cast<void>(content);
        return make_error("the memory of {} is mapped", description());
    }
    virtual Status read(RegionId region, PageRange range, std::span<std::byte> to) const {
        static_cast<void>(region), static_cast<void>(range), static_cast<void>(to);
        return make_error("the memory of {} is mapped", description());
    }
    // The region's memory, page-aligned and writable.
    virtual std::span<std::byte> memory(RegionId region) const = 0;
    virtual BackingKind kind(RegionId region) const {
        static_cast<void>(region);
        return BackingKind::kDisk;
    }
    // Checks before pages are written: an Error if a process other than the memory's owner has
    // begun to use it since prepare(). Takes a system call. Thread-safe.
    virtual Status check_sole_use() const { return {}; }
    // Makes fresh pages present before they are written, in one step, so that a full disk or
    // exhausted memory is an Error here and not a signal later. Thread-safe.
    virtual Status prefault(RegionId region, PageRange range) const = 0;
    // Returns the error of fresh pages that could not be made, with the kernel's errno for it. It
    // tells a full file system from memory that ran out.
    virtual Error explain(RegionId region, PageRange range, int code) const {
        static_cast<void>(region);
        return Error::system(
            fmt::format("make room in {} at offset {}", description(), range.offset_bytes()), code);
    }
    // Makes non-zero pages zero again; gives the memory of long runs back. Thread-safe.
    virtual Status clear(RegionId region, PageRange range) const = 0;
    // Does the same as PageSource::population(), for the digest; nobody writes a page of the range
    // meanwhile. A sink that cannot tell reports everything as populated. Thread-safe.
    virtual Status population(RegionId region, PageRange range,
                              std::vector<PopulationExtent>& extents) const {
        static_cast<void>(region);
        extents.push_back({range, true});
        return {};
    }
    // The pages that the sink has from a transfer that broke off; null: none. Called after
    // prepare().
    virtual PartialPages* partial() { return nullptr; }
    // After prepare(): sets the bits of the region's pages that may not be zero.
    virtual Status find_content(RegionId region, PageBitmap& content) const {
        static_cast<void>(region), static_cast<void>(content);
        return {};
    }
    // The normal ones of these pages are in place, and nobody writes them in this round.
    // Thread-safe.
    virtual void note_arrived(RegionId region, std::span<const PageRun> runs) const {
        static_cast<void>(region), static_cast<void>(runs);
    }
    // Called after each round in which the guest runs, before the round is confirmed: does now what
    // would prolong commit(), for which a paused guest waits. The time belongs to the round, so a
    // slow disk looks like a slow network.
    virtual Status flush() const { return {}; }
    // Makes the result durable and visible under its name. Called after the last byte is in place
    // and checked.
    virtual Status commit() = 0;
    // True if further pages may be placed after commit(), which is then called again.
    virtual bool may_commit_again() const { return false; }
    // Pages that are in the sink, too, but have to be written again where they are right. Null:
    // none.
    virtual const KnownPages* leftovers() const { return nullptr; }
};

// Opens the sink that `--sink` names: one of kSinkForms (base/config/form_tables.hpp)
// but qemu: and bundle:.
// Checks immediately what can be checked before a sender comes (the folder exists and is writable,
// the target is not a folder). kYes: a transfer into a file that broke off goes on; kUsage for
// other forms.
enum class Resume { kNo, kYes };
Result<std::unique_ptr<PageSink>> open_page_sink(std::string_view uri, Resume resume = Resume::kNo);

}  // namespace migrate::memory
