// SPDX-License-Identifier: Apache-2.0
// Reading memory outside of a round, with a guest that gives memory back.
#include "engine/send/live_source.hpp"

#include <sys/mman.h>

#include <cstring>

#include "catch.hpp"
#include "guest/guest.hpp"
#include "tests/support/must.hpp"

namespace migrate::engine {
namespace {

constexpr std::uint64_t kBlockPages = 2 * kMiB / kPageSize;

// A built-in guest with all of its pages sent with content.
struct Sent {
    Sent() {
        must(machine.guest->pause());
        must(live->watch_given_back());
        must(live->start());
        live->note_sent(RegionId{}, {{0, pages()}, PageKind::kNormal});
        const auto memory = machine.memory->memory(RegionId{});
        live->note_copy(RegionId{}, {0, memory.size() / kPageSize}, memory);
        must(live->collect());
    }
    std::uint64_t pages() const { return machine.memory->regions()[0].pages(); }
    void zero(std::uint64_t page) {
        const auto memory = machine.memory->memory(RegionId{});
        // The guest's own memory, which it can write.
        void* at = const_cast<std::byte*>(memory.data()) + page * kPageSize;
        if (::madvise(at, kPageSize, MADV_DONTNEED) != 0) FAIL("madvise: " << errno);
    }
    bool is_dirty(std::uint64_t page) const { return live->dirty()[0].test(page); }

    guest::Machine machine = must(guest::open_machine("workload:8M,rate=1,warm-up=0,memory=anon"));
    std::unique_ptr<LiveSource> live =
        must(LiveSource::create(*machine.guest, *machine.memory, "hash", {}));
};

TEST_CASE(
    "content that was read and is zero now is sent again, with what one read may have filled") {
    Sent sent;
    CHECK(sent.live->content_pages() == sent.pages());
    REQUIRE(sent.live->dirty_pages() == 0);
    const std::uint64_t given_back = kBlockPages + 5;
    sent.zero(given_back);
    must(sent.live->check_read(RegionId{}, {kBlockPages, kBlockPages}));
    must(sent.live->collect());
    CHECK(sent.is_dirty(given_back));
    CHECK(sent.is_dirty(kBlockPages));
    CHECK(sent.is_dirty(2 * kBlockPages - 1));
    CHECK_FALSE(sent.is_dirty(3 * kBlockPages));
    // Once: the next look starts anew.
    sent.live->note_sent(RegionId{}, {{kBlockPages, kBlockPages}, PageKind::kZero});
    must(sent.live->check_read(RegionId{}, {kBlockPages, kBlockPages}));
    CHECK(sent.live->content_pages() == sent.pages() - kBlockPages);
}

TEST_CASE("a page that was postponed is collected, whatever the guest does to it until then") {
    if (!memory::probe_dirty_trackers()[0].usable) return;
    guest::Machine machine = must(guest::open_machine("workload:8M,rate=1,warm-up=0,memory=memfd"));
    must(machine.guest->pause());
    const auto live = must(LiveSource::create(*machine.guest, *machine.memory, "uffd-wp", {}));
    must(live->start());
    const auto memory = machine.memory->memory(RegionId{});
    auto* const bytes = const_cast<std::byte*>(memory.data());
    for (const std::uint64_t page : {3U, 4U, 5U}) bytes[page * kPageSize] = std::byte{1};
    must(live->collect());
    REQUIRE(live->dirty_pages() == 3);
    const auto left = [&] {
        const RoundPlan plan = live->postponing_plan(1);
        CHECK(plan.pages() == live->dirty_pages());
        const auto span = plan.claim();
        REQUIRE(span);
        return plan.pages() - must(plan.next_part(*span)).postponed;
    };
    bytes[4 * kPageSize] = std::byte{2};
    CHECK(left() == 2);
    // The page that was written is gone.
    REQUIRE(::madvise(bytes + 4 * kPageSize, kPageSize, MADV_REMOVE) == 0);
    must(live->collect());
    CHECK(live->dirty()[0].test(4));
    CHECK(live->dirty_pages() == 1);
    // Once: the next collection starts anew.
    CHECK(left() == 1);
    must(live->collect());
    CHECK(live->dirty_pages() == 0);
}

TEST_CASE("content is what was sent with content, in extents without a gap") {
    Sent sent;
    sent.live->note_sent(RegionId{}, {{10, 20}, PageKind::kZero});
    std::vector<memory::PopulationExtent> extents;
    must(sent.live->content(RegionId{}, {5, 45}, extents));
    REQUIRE(extents.size() == 3);
    CHECK(extents[0].pages.first == 5);
    CHECK(extents[0].populated);
    CHECK(extents[1].pages.first == 10);
    CHECK(extents[1].pages.count == 20);
    CHECK_FALSE(extents[1].populated);
    CHECK(extents[2].pages.end() == 50);
    CHECK(extents[2].populated);
}

}  // namespace
}  // namespace migrate::engine
