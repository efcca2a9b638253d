// SPDX-License-Identifier: Apache-2.0
#include "engine/send/reuse_query.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/page_buffer.hpp"
#include "memory/pieces.hpp"

namespace migrate::engine {

using Clock = std::chrono::steady_clock;
using transport::FrameType;
using transport::PageDigest;

namespace {

// The pages that are digested together, by several threads, and those that a thread reads at once.
constexpr std::uint64_t kChunkPages = 64 * kMiB / kPageSize;
constexpr std::uint64_t kStepPages = 64;
// Steps that a thread takes at a time.
constexpr std::uint64_t kStepsOfPiece = 16;

}  // namespace

Status ReuseQuery::ask() {
    if (!key_) return {};
    const Clock::time_point began = Clock::now();
    const std::span<const RegionInfo> regions = needs_.source.regions();
    for (const RegionInfo& region : regions) {
        MIGRATE_ASSIGN(memory::PageBitmap bitmap, memory::PageBitmap::create(region.pages()));
        reused_.push_back(std::move(bitmap));
    }
    for (std::size_t i = 0; i < regions.size(); ++i) {
        const auto id = static_cast<RegionId>(i);
        MIGRATE_TRY(memory::for_each_step({0, regions[i].pages()}, kChunkPages,
                                          [&](PageRange pages) { return ask_about(id, pages); }));
    }
    if (!frame_.empty()) MIGRATE_TRY(send());
    while (!open_.empty()) MIGRATE_TRY(take_answer());
    figures_.time = std::chrono::duration_cast<Microseconds>(Clock::now() - began);
    needs_.published.lock()->reuse = figures_;
    return {};
}

Status ReuseQuery::ask_about(RegionId region, PageRange pages) {
    std::vector<memory::PopulationExtent> extents;
    MIGRATE_TRY(needs_.source.population(region, pages, extents));
    std::vector<PageRange> steps;
    for (const memory::PopulationExtent& extent : extents) {
        if (!extent.populated) continue;
        MIGRATE_TRY(memory::for_each_step(extent.pages, kStepPages, [&](PageRange step) -> Status {
            steps.push_back(step);
            return {};
        }));
    }
    std::vector<std::optional<PageDigest>> digests(steps.size() * kStepPages);
    MIGRATE_TRY(digest(region, steps, digests));
    for (std::size_t step = 0; step < steps.size(); ++step) {
        for (std::uint64_t i = 0; i < steps[step].count; ++i) {
            const std::optional<PageDigest>& digest = digests[step * kStepPages + i];
            if (!digest) continue;
            const std::uint64_t page = steps[step].first + i;
            if (frame_.add(region, page, *digest)) {
                region_ = region;
                continue;
            }
            MIGRATE_TRY(send());
            frame_.add(region, page, *digest);
            region_ = region;
        }
    }
    return {};
}

// Digests the pages that are not zero. The content is copied first: a guest may write to it.
Status ReuseQuery::digest(RegionId region, std::span<const PageRange> steps,
                          std::vector<std::optional<PageDigest>>& digests) const {
    const bool wants_copies = needs_.sent != nullptr && needs_.sent->wants_copies();
    const auto digest_step = [&](std::uint64_t step, std::span<std::byte> copy) -> Status {
        if (needs_.stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        const PageRange pages = steps[step];
        MIGRATE_TRY(needs_.source.read(region, pages, copy.data()));
        // Each page that the receiver lacks is sent later, and noted again then.
        if (wants_copies) needs_.sent->note_copy(region, pages, copy.first(pages.size_bytes()));
        for (std::uint64_t i = 0; i < pages.count; ++i) {
            const std::byte* const page = copy.data() + i * kPageSize;
            if (memory::is_zero_page(page)) continue;
            const memory::Digest digest = key_->of(page);
            digests[step * kStepPages + i] = PageDigest{digest.low, digest.high};
        }
        return {};
    };
    return memory::for_each_piece("reuse", steps.size(), kStepsOfPiece, [&](PageRange piece) {
        PageBuffer copy(kStepPages * kPageSize);
        return memory::for_each_step(piece, 1,
                                     [&](PageRange step) { return digest_step(step.first, copy); });
    });
}

Status ReuseQuery::send() {
    while (open_.size() >= transport::kMostUnansweredDigests) MIGRATE_TRY(take_answer());
    open_.push_back({region_, {frame_.pages().begin(), frame_.pages().end()}});
    const std::string body = frame_.take();
    if (!needs_.pacer.acquire(body.size(), needs_.stop)) {
        return Error(ErrorKind::kCancelled, "cancelled");
    }
    figures_.bytes += body.size();
    return needs_.link.send(FrameType::kPageDigests, body);
}

Status ReuseQuery::take_answer() {
    const Question question = std::move(open_.front());
    open_.pop_front();
    std::size_t asked = 0;
    for (const PageRange& range : question.pages) asked += range.count;
    MIGRATE_ASSIGN(const transport::Frame frame,
                   needs_.link.expect({FrameType::kPagesReused}, std::nullopt));
    MIGRATE_ASSIGN(const std::vector<bool> reused,
                   transport::decode_pages_reused(frame.body, asked));
    std::size_t index = 0;
    for (const PageRange& range : question.pages) {
        for (std::uint64_t page = range.first; page < range.end(); ++page) {
            if (!reused[index++]) continue;
            reused_[index_of(question.region)].set({page, 1});
            ++figures_.pages;
            if (needs_.sent != nullptr) {
                needs_.sent->note_sent(question.region, {{page, 1}, PageKind::kNormal});
            }
        }
    }
    figures_.digests += asked;
    needs_.published.lock()->reuse = figures_;
    return {};
}

}  // namespace migrate::engine
