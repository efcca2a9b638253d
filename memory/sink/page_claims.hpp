// SPDX-License-Identifier: Apache-2.0
// The pages of a partial image that its journal says to be on the disk, with their digests.
// Invariants: what this object claims, its journal claims; a record is written only after the
// content was synced, and a claim is given up in the journal, on the disk, before the page is
// overwritten.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/mutex.hpp"
#include "base/units.hpp"
#include "memory/digest.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/sink/resume_journal.hpp"

namespace migrate::memory {

// Thread-safe.
class PageClaims {
  public:
    // Begins a journal, or continues the one of `header`.
    static Result<std::unique_ptr<PageClaims>> start(UniqueFd journal, std::string what,
                                                     const JournalHeader& header);
    static Result<std::unique_ptr<PageClaims>> open(UniqueFd journal, std::string what,
                                                    const JournalHeader& header);

    // Appends the claimed ones of `pages` that have these contents; `content` is that of all.
    void match(PageRange pages, std::span<const std::byte> content,
               std::vector<PageRange>& right) const;
    // Calls `work` for each run of claimed pages.
    void for_each_claimed(PageRange pages, const std::function<void(PageRange)>& work) const;
    std::uint64_t count() const;

    // These pages, whose digests are given in order, are on the disk.
    Status claim(PageRange pages, std::span<const Digest> digests);
    // The claims of `pages` end, except those of pages that are set in `except`.
    Status give_up(std::span<const PageRange> pages, const PageBitmap& except);
    // Waits until the journal is on the disk.
    Status sync() const;

  private:
    PageClaims(ResumeJournal journal, Mapping digests, PageBitmap claimed)
        : journal_(std::move(journal)),
          digests_(std::move(digests)),
          claimed_(std::move(claimed)) {}
    static Result<std::unique_ptr<PageClaims>> make(
        const JournalHeader& header,
        const std::function<Result<ResumeJournal>(Mapping&, PageBitmap&)>& journal);
    Digest* digests() const REQUIRES(mutex_) { return reinterpret_cast<Digest*>(digests_.data()); }

    mutable Mutex mutex_;
    ResumeJournal journal_ GUARDED_BY(mutex_);
    Mapping digests_ GUARDED_BY(mutex_);  // one for each page; valid for those that are claimed
    PageBitmap claimed_ GUARDED_BY(mutex_);
};

}  // namespace migrate::memory
