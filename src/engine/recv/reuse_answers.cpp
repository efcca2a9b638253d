// SPDX-License-Identifier: Apache-2.0
#include "engine/recv/reuse_answers.hpp"

#include <algorithm>
#include <chrono>

#include "base/page_buffer.hpp"
#include "memory/pieces.hpp"

namespace migrate::engine {

using Clock = std::chrono::steady_clock;

namespace {

// The pages that a thread reads and digests at a time.
constexpr std::uint64_t kStepPages = 64;
// Steps that a thread takes at a time.
constexpr std::uint64_t kStepsOfPiece = 16;

// Pages of a question, and the number of the first one among all of its pages.
struct Step {
    PageRange pages;
    std::size_t index = 0;
};

std::vector<Step> steps_of(const transport::PageDigests& asked) {
    std::vector<Step> steps;
    std::size_t index = 0;
    for (const PageRange& range : asked.pages) {
        for (std::uint64_t page = range.first; page < range.end(); page += kStepPages) {
            const PageRange pages{page, std::min(kStepPages, range.end() - page)};
            steps.push_back({pages, index});
            index += pages.count;
        }
    }
    return steps;
}

}  // namespace

Result<std::string> ReuseAnswers::answer(std::string_view body) {
    if (!key_) {
        return Error(ErrorKind::kProtocol, "the sender asks for pages that nobody offered it");
    }
    const Clock::time_point began = Clock::now();
    MIGRATE_ASSIGN(const transport::PageDigests asked,
                   transport::decode_page_digests(body, needs_.regions));
    // A byte for each page: threads set neighbours at the same time.
    std::vector<std::uint8_t> reused(asked.digests.size());
    if (needs_.partial != nullptr) {
        MIGRATE_TRY(look_up(asked, *needs_.partial, Found::kInPlace, reused));
        MIGRATE_TRY(needs_.partial->give_up(asked.region, asked.pages));
    }
    for (const memory::KnownPages* known : needs_.elsewhere) {
        if (known != nullptr) MIGRATE_TRY(look_up(asked, *known, Found::kElsewhere, reused));
    }
    figures_.digests += reused.size();
    figures_.pages += static_cast<std::uint64_t>(std::count(reused.begin(), reused.end(), 1));
    figures_.time += std::chrono::duration_cast<Microseconds>(Clock::now() - began);
    needs_.published.lock()->reuse = figures_;
    return transport::encode_pages_reused({reused.begin(), reused.end()});
}

Status ReuseAnswers::look_up(const transport::PageDigests& asked, const memory::KnownPages& known,
                             Found found, std::vector<std::uint8_t>& reused) const {
    const std::vector<Step> steps = steps_of(asked);
    return memory::for_each_piece("reuse", steps.size(), kStepsOfPiece, [&](PageRange piece) {
        PageBuffer content(kStepPages * kPageSize);
        return memory::for_each_step(piece, 1, [&](PageRange number) -> Status {
            const auto& [pages, index] = steps[number.first];
            const std::span<std::uint8_t> flags = std::span(reused).subspan(index, pages.count);
            std::vector<PageRange> readable;
            known.read(asked.region, pages, content, readable);
            std::vector<PageRange> right;
            for (const PageRange& range : readable) {
                for (std::uint64_t page = range.first; page < range.end(); ++page) {
                    const std::size_t at = page - pages.first;
                    if (flags[at] != 0) continue;
                    const memory::Digest digest = key_->of(content.data() + at * kPageSize);
                    const transport::PageDigest& theirs = asked.digests[index + at];
                    if (digest.low != theirs.low || digest.high != theirs.high) continue;
                    flags[at] = 1;
                    memory::append_pages({page, 1}, right);
                }
            }
            for (const PageRange& range : right) {
                const auto bytes = std::span<const std::byte>(content).subspan(
                    (range.first - pages.first) * kPageSize, range.size_bytes());
                MIGRATE_TRY(take(asked.region, range, bytes, found));
            }
            return {};
        });
    });
}

Status ReuseAnswers::take(RegionId region, PageRange pages, std::span<const std::byte> content,
                          Found found) const {
    if (found == Found::kElsewhere) return needs_.placer.place(region, pages, content);
    MIGRATE_TRY(needs_.placer.keep(region, pages));
    needs_.partial->confirm(region, pages);
    return {};
}

}  // namespace migrate::engine
