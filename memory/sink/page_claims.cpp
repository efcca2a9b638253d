// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/page_claims.hpp"

#include <algorithm>
#include <utility>

#include "memory/anon_mapping.hpp"
#include "memory/sink/known_pages.hpp"

namespace migrate::memory {
namespace {

// Puts a record into effect.
void apply(const JournalRecord& record, const Mapping& digests, PageBitmap& claimed) {
    if (record.kind == JournalRecord::Kind::kGivenUp) {
        claimed.clear(record.pages);
        return;
    }
    auto* const all = reinterpret_cast<Digest*>(digests.data());
    std::copy(record.digests.begin(), record.digests.end(), all + record.pages.first);
    claimed.set(record.pages);
}

}  // namespace

Result<std::unique_ptr<PageClaims>> PageClaims::make(
    const JournalHeader& header,
    const std::function<Result<ResumeJournal>(Mapping&, PageBitmap&)>& journal) {
    const std::uint64_t pages = header.size_bytes / kPageSize;
    MIGRATE_ASSIGN(PageBitmap claimed, PageBitmap::create(pages));
    MIGRATE_ASSIGN(Mapping digests, map_anonymous(pages * sizeof(Digest), HugePages::kOff,
                                                  "the digests of a partial image"));
    MIGRATE_ASSIGN(ResumeJournal opened, journal(digests, claimed));
    return std::unique_ptr<PageClaims>(
        new PageClaims(std::move(opened), std::move(digests), std::move(claimed)));
}

Result<std::unique_ptr<PageClaims>> PageClaims::start(UniqueFd journal, std::string what,
                                                      const JournalHeader& header) {
    return make(header, [&](Mapping&, PageBitmap&) {
        return ResumeJournal::start(std::move(journal), std::move(what), header);
    });
}

Result<std::unique_ptr<PageClaims>> PageClaims::open(UniqueFd journal, std::string what,
                                                     const JournalHeader& header) {
    return make(header, [&](Mapping& digests, PageBitmap& claimed) {
        return ResumeJournal::open(
            std::move(journal), std::move(what), header,
            [&](const JournalRecord& record) { apply(record, digests, claimed); });
    });
}

void PageClaims::match(PageRange pages, std::span<const std::byte> content,
                       std::vector<PageRange>& right) const {
    for (std::uint64_t page = pages.first; page < pages.end(); ++page) {
        const Digest found =
            digest_content(content.data() + (page - pages.first) * kPageSize, {page, 1});
        const MutexLock lock(mutex_);
        if (claimed_.test(page) && digests()[page] == found) append_pages({page, 1}, right);
    }
}

void PageClaims::for_each_claimed(PageRange pages,
                                  const std::function<void(PageRange)>& work) const {
    std::vector<PageRange> runs;
    {
        const MutexLock lock(mutex_);
        for (std::uint64_t page = claimed_.find(pages.first, pages.end(), true);
             page < pages.end();) {
            const std::uint64_t end = claimed_.find(page, pages.end(), false);
            runs.push_back({page, end - page});
            page = claimed_.find(end, pages.end(), true);
        }
    }
    for (const PageRange& run : runs) work(run);
}

std::uint64_t PageClaims::count() const {
    const MutexLock lock(mutex_);
    return claimed_.count({0, claimed_.pages()});
}

Status PageClaims::claim(PageRange pages, std::span<const Digest> digests) {
    const MutexLock lock(mutex_);
    while (pages.count != 0) {
        const std::uint64_t count = std::min(pages.count, kMostRecordPages);
        const auto part = digests.first(count);
        const JournalRecord record{.kind = JournalRecord::Kind::kPlaced,
                                   .pages = {pages.first, count},
                                   .digests = {part.begin(), part.end()}};
        MIGRATE_TRY(journal_.append(record));
        apply(record, digests_, claimed_);
        digests = digests.subspan(count);
        pages = {pages.first + count, pages.count - count};
    }
    return {};
}

Status PageClaims::give_up(std::span<const PageRange> pages, const PageBitmap& except) {
    const MutexLock lock(mutex_);
    bool any = false;
    for (const PageRange& range : pages) {
        for (std::uint64_t page = range.first; page < range.end();) {
            page = claimed_.find(page, range.end(), true);
            page = except.find(page, claimed_.find(page, range.end(), false), false);
            if (page >= range.end()) break;
            if (!claimed_.test(page)) continue;
            const std::uint64_t end =
                except.find(page, claimed_.find(page, range.end(), false), true);
            const JournalRecord record{.kind = JournalRecord::Kind::kGivenUp,
                                       .pages = {page, end - page}};
            MIGRATE_TRY(journal_.append(record));
            apply(record, digests_, claimed_);
            any = true;
            page = end;
        }
    }
    return any ? journal_.sync() : Status();
}

Status PageClaims::sync() const {
    const MutexLock lock(mutex_);
    return journal_.sync();
}

}  // namespace migrate::memory
