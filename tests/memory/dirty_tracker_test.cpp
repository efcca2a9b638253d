// SPDX-License-Identifier: Apache-2.0
#include "memory/dirty/dirty_tracker.hpp"

#include <sys/mman.h>

#include <random>
#include <thread>

#include "memory/dirty/soft_dirty.hpp"
#include "tests/memory/guest_memory.hpp"
#include "tests/support/huge_pool.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_sanitizer.hpp"

namespace migrate::memory {
namespace {

using Pages = std::vector<std::uint64_t>;
constexpr std::uint64_t kTestPages = 8 * kPagesPerHugePage;

// Calls body(tracker's name, memory) for every tracker this host has on every kind of memory; a
// fresh memory each.
template <typename Body>
void on_every_tracker_and_memory(Body body) {
    const HugePool pool(kTestPages / kPagesPerHugePage + 1);
    for (const DirtyTrackerSupport& tracker : probe_dirty_trackers()) {
        if (!tracker.usable) continue;
        for (const auto kind : {GuestMemoryKind::kSmallPages, GuestMemoryKind::kHugePages,
                                GuestMemoryKind::kMemfd, GuestMemoryKind::kHugetlb}) {
            if (kind == GuestMemoryKind::kHugetlb && !pool) continue;
            INFO(tracker.name << " on " << name_of(kind));
            const GuestMemory memory(kind, kTestPages);
            body(tracker.name, memory, kind);
        }
    }
}

// Checks that the expected pages are reported; hugetlbfs is protected by huge pages.
void check_reported(const Pages& reported, const Pages& expected, GuestMemoryKind kind) {
    if (kind != GuestMemoryKind::kHugetlb) {
        CHECK(reported == expected);
        return;
    }
    for (const std::uint64_t page : expected) {
        CHECK(std::binary_search(reported.begin(), reported.end(), page));
    }
}

TEST_CASE("nothing is collected where nothing was written, though the sender reads it all") {
    on_every_tracker_and_memory([](const auto& name, const GuestMemory& memory, GuestMemoryKind) {
        memory.fill({0, kTestPages / 2});
        CopyingSender sender(memory, name);
        sender.first_round();
        CHECK(sender.round().empty());
        CHECK(sender.round().empty());
        CHECK(sender.first_difference() == kTestPages);
    });
}

TEST_CASE("each written page is collected once, and again when it is written again") {
    on_every_tracker_and_memory(
        [](const auto& name, const GuestMemory& memory, GuestMemoryKind kind) {
            memory.fill({0, kTestPages});
            CopyingSender sender(memory, name);
            sender.first_round();
            const Pages written{0, 1, 5, 700, 1023, kTestPages - 1};
            for (const std::uint64_t page : written) memory.word(page, 511).store(7);
            check_reported(sender.round(), written, kind);
            CHECK(sender.round().empty());
            memory.word(700, 0).store(8);
            check_reported(sender.round(), {700}, kind);
            CHECK(sender.round().empty());
            CHECK(sender.first_difference() == kTestPages);
        });
}

TEST_CASE("the first write to memory never touched before is collected") {
    on_every_tracker_and_memory(
        [](const auto& name, const GuestMemory& memory, GuestMemoryKind kind) {
            memory.fill({0, 1});  // its page table exists, the other ones do not
            CopyingSender sender(memory, name);
            sender.first_round();
            const Pages written{3, 600, 2000};
            for (const std::uint64_t page : written) memory.word(page, 3).store(7);
            check_reported(sender.round(), written, kind);
            CHECK(sender.round().empty());
            CHECK(sender.first_difference() == kTestPages);
        });
}

TEST_CASE("pages that were given back are collected, and again when they are written again") {
    on_every_tracker_and_memory(
        [](const auto& name, const GuestMemory& memory, GuestMemoryKind kind) {
            if (kind == GuestMemoryKind::kHugetlb) return;
            const bool seen = name == "hash" || kind != GuestMemoryKind::kMemfd;
            memory.fill({0, kTestPages});
            CopyingSender sender(memory, name);
            sender.first_round();
            for (const PageRange range : {PageRange{3, 2}, {1024, 512}, {2000, 1200}}) {
                CAPTURE(range.first);
                memory.give_back(range);
                if (seen) {
                    CHECK(sender.round().size() == range.count);
                    CHECK(sender.first_difference() == kTestPages);
                    CHECK(sender.round().empty());
                }
                memory.fill({range.first + 1, 1}, 'b');
                CHECK(sender.round() == Pages{range.first + 1});
                memory.fill(range, 'c');
                memory.give_back(range);
                memory.fill(range, 'd');
                CHECK(sender.round().size() == range.count);
                CHECK(sender.first_difference() == kTestPages);
            }
        });
}

TEST_CASE("pages that were written, sent and given back between two collects are collected") {
    on_every_tracker_and_memory(
        [](const auto& name, const GuestMemory& memory, GuestMemoryKind kind) {
            if (kind == GuestMemoryKind::kHugetlb) return;
            memory.fill({0, 1});
            CopyingSender sender(memory, name);
            sender.first_round();
            memory.fill({512, 1024});
            for (std::uint64_t page = 512; page < 1536; ++page) sender.send(page);
            memory.give_back({512, 1024});
            sender.round();
            CHECK(sender.first_difference() == kTestPages);
        });
}

TEST_CASE("written pages are collected even if their page table entries are gone") {
    on_every_tracker_and_memory(
        [](const auto& name, const GuestMemory& memory, GuestMemoryKind kind) {
            if (kind == GuestMemoryKind::kHugetlb) return;
            CopyingSender sender(memory, name);
            sender.first_round();
            for (const PageRange range : {PageRange{3, 2}, {1024, 512}, {2000, 1200}}) {
                memory.fill(range);
                memory.unmap(range);
                sender.round();
                CHECK(sender.first_difference() == kTestPages);
            }
        });
}

TEST_CASE("pages that a system call writes are collected") {
    const TemporaryFolder folder;
    write_file(folder / "file", std::string(kPageSize, 'x'));
    const UniqueFd file(::open((folder / "file").c_str(), O_RDONLY | O_CLOEXEC));
    on_every_tracker_and_memory(
        [&](const auto& name, const GuestMemory& memory, GuestMemoryKind kind) {
            memory.fill({0, kTestPages});
            CopyingSender sender(memory, name);
            sender.first_round();
            REQUIRE(::pread(file.get(), memory.page(77) + 100, 50, 0) == 50);
            check_reported(sender.round(), {77}, kind);
            CHECK(sender.first_difference() == kTestPages);
        });
}

TEST_CASE("more runs of pages than one look at the page tables reports are all collected") {
    for (const auto kind :
         {GuestMemoryKind::kSmallPages, GuestMemoryKind::kHugePages, GuestMemoryKind::kMemfd}) {
        const std::uint64_t pages = 20000;
        const GuestMemory memory(kind, pages);
        memory.fill({0, pages});
        for (const DirtyTrackerSupport& tracker : probe_dirty_trackers()) {
            if (!tracker.usable) continue;
            INFO(tracker.name << " on " << name_of(kind));
            CopyingSender sender(memory, tracker.name);
            sender.first_round();
            Pages written;
            for (std::uint64_t page = 1; page < pages; page += 2) written.push_back(page);
            for (const std::uint64_t page : written) memory.word(page, 9).fetch_add(1);
            CHECK(sender.round() == written);
            CHECK(sender.round().empty());
        }
    }
}

TEST_CASE("a dirty bit that is set stays set") {
    on_every_tracker_and_memory([](const auto& name, const GuestMemory& memory, GuestMemoryKind) {
        CopyingSender sender(memory, name);
        sender.first_round();
        std::vector<PageBitmap> dirty;
        dirty.push_back(must(PageBitmap::create(kTestPages)));
        dirty[0].set({9, 1});
        must(sender.tracker().collect(dirty, {}));
        CHECK(dirty[0].count({0, kTestPages}) == 1);
    });
}

TEST_CASE("after stop the memory is plain, and can be tracked anew") {
    on_every_tracker_and_memory(
        [](const auto& name, const GuestMemory& memory, GuestMemoryKind kind) {
            memory.fill({0, kTestPages});
            for (int turn = 0; turn < 2; ++turn) {
                CopyingSender sender(memory, name);
                sender.first_round();
                memory.word(5, 0).fetch_add(1);
                check_reported(sender.round(), {5}, kind);
                sender.tracker().stop();
                sender.tracker().stop();
                memory.word(6, 0).fetch_add(1);
            }
            CHECK(memory.word(6, 0).load() % 256 == 'a' + 2);
        });
}

// The destination of a lock word that was taken only while it was sent.
TEST_CASE("a page that was sent with what it held only then is collected") {
    on_every_tracker_and_memory(
        [](const auto& name, const GuestMemory& memory, GuestMemoryKind kind) {
            memory.fill({0, kTestPages});
            CopyingSender sender(memory, name);
            sender.first_round();
            const std::uint64_t before = memory.word(40, 0).load();
            for (int turn = 0; turn < 3; ++turn) {
                memory.word(40, 0).store(1);
                sender.send(40);
                memory.word(40, 0).store(before);
                check_reported(sender.round(), {40}, kind);
                CHECK(sender.first_difference() == kTestPages);
            }
        });
}

// The hammer's threads run this until they are told to stop.
void write_at_random(const GuestMemory& memory, std::uint64_t seed, std::stop_token stop) {
    std::mt19937_64 random(seed);
    for (std::uint64_t sequence = 1; !stop.stop_requested(); ++sequence) {
        const std::uint64_t dice = random();
        auto word = memory.word(dice % memory.pages(), (dice >> 32U) % 512);
        if (dice >> 62U == 0) {
            // A lock: taken, and given back at once.
            const std::uint64_t before = word.load(std::memory_order_relaxed);
            word.store(~before, std::memory_order_relaxed);
            word.store(before, std::memory_order_relaxed);
        } else {
            word.store((seed << 48U) + sequence, std::memory_order_relaxed);
        }
    }
}

enum class TakeAway { kGiveBack, kUnmap };

void take_away_at_random(const GuestMemory& memory, TakeAway how, std::uint64_t seed,
                         std::stop_token stop) {
    std::mt19937_64 random(seed);
    while (!stop.stop_requested()) {
        const std::uint64_t count = random() % 3 == 0 ? kPagesPerHugePage : 1 + random() % 8;
        const std::uint64_t first = random() % (memory.pages() - count);
        const PageRange range{count == kPagesPerHugePage ? first / count * count : first, count};
        how == TakeAway::kGiveBack ? memory.give_back(range) : memory.unmap(range);
        std::this_thread::yield();
    }
}

void check_no_write_is_lost(std::string_view tracker) {
    constexpr std::uint64_t kSeed = 20240607;
#ifdef MIGRATE_UNDER_TSAN
    constexpr int kRounds = 5;  // each takes a hundred times as long
#else
    constexpr int kRounds = 60;
#endif
    INFO("seed " << kSeed);
    on_every_tracker_and_memory(
        [tracker](const auto& name, const GuestMemory& memory, GuestMemoryKind kind) {
            if (name != tracker) return;
            memory.fill({0, kTestPages * 3 / 4});
            CopyingSender sender(memory, name);
            {
                std::vector<std::jthread> guest;
                for (std::uint64_t i = 1; i <= 3; ++i) {
                    guest.emplace_back([&memory, i](std::stop_token stop) {
                        write_at_random(memory, kSeed + i, std::move(stop));
                    });
                }
                if (kind != GuestMemoryKind::kHugetlb) {
                    const bool seen = name == "hash" || kind != GuestMemoryKind::kMemfd;
                    const TakeAway how = seen ? TakeAway::kGiveBack : TakeAway::kUnmap;
                    guest.emplace_back([&memory, how](std::stop_token stop) {
                        take_away_at_random(memory, how, kSeed, std::move(stop));
                    });
                }
                sender.first_round();
                for (int round = 0; round < kRounds; ++round) sender.round();
            }
            const std::size_t last = sender.round().size();
            CHECK(sender.first_difference() == kTestPages);
            CHECK(sender.round().empty());
            CHECK(last > 0);
        });
}

TEST_CASE("uffd-wp loses no write while threads write and take memory away at full speed",
          "[part-1]") {
    check_no_write_is_lost("uffd-wp");
}

TEST_CASE("soft-dirty loses no write while threads write and take memory away at full speed",
          "[part-2]") {
    check_no_write_is_lost("soft-dirty");
}

TEST_CASE("hash loses no write while threads write and take memory away at full speed",
          "[part-3]") {
    check_no_write_is_lost("hash");
}

TEST_CASE("auto takes the first tracker that this host and this memory can have") {
    const auto support = probe_dirty_trackers();
    REQUIRE(support.size() == 3);
    CHECK(support[0].name == "uffd-wp");
    CHECK(support[1].name == "soft-dirty");
    CHECK(support[2].name == "hash");
    CHECK(support[2].usable);
    for (const DirtyTrackerSupport& tracker : support) CHECK_FALSE(tracker.detail.empty());

    const GuestMemory memory(GuestMemoryKind::kSmallPages, 4);
    const auto chosen = must(make_dirty_tracker("auto", memory));
    CHECK(chosen->name() == (support[0].usable ? "uffd-wp" : "hash"));

    // An image that can only be read.
    const TemporaryFolder folder;
    write_sparse_file(folder / "image", 4, {1});
    const auto image = must(open_page_source(folder / "image"));
    CHECK(must(make_dirty_tracker("auto", *image))->name() == "hash");
    if (!support[0].usable) return;
    const auto refused = make_dirty_tracker("uffd-wp", *image);
    CHECK_THAT(message_of(refused), Catch::Contains("region ram: this memory cannot be"));
    CHECK(refused.error().kind() == ErrorKind::kUsage);
}

TEST_CASE("a tracker that cannot be had is refused with the reason") {
    const GuestMemory memory(GuestMemoryKind::kSmallPages, 4);
    const auto unknown = make_dirty_tracker("uffd", memory);
    CHECK_THAT(message_of(unknown), Catch::Contains("there is no dirty tracker 'uffd'"));
    CHECK(unknown.error().kind() == ErrorKind::kUsage);
    const auto lossy = make_dirty_tracker("soft-dirty", memory);
    CHECK_THAT(message_of(lossy), Catch::Contains(probe_soft_dirty().detail));
    CHECK(lossy.error().kind() == ErrorKind::kUsage);
}

TEST_CASE("a tracker is refused memory that another one has, and gives it free") {
    const GuestMemory memory(GuestMemoryKind::kSmallPages, 4);
    if (!probe_dirty_trackers()[0].usable) return;
    auto first = make_dirty_tracker("uffd-wp", memory);
    REQUIRE(first);
    CHECK_THAT(message_of(make_dirty_tracker("uffd-wp", memory)), Catch::Contains("another"));
    first->reset();
    CHECK(make_dirty_tracker("uffd-wp", memory));
}

TEST_CASE("a look between collections finds only what the next one finds, and takes nothing") {
    on_every_tracker_and_memory(
        [](const auto& name, const GuestMemory& memory, GuestMemoryKind kind) {
            memory.fill({0, kTestPages});
            CopyingSender sender(memory, name);
            sender.first_round();
            CHECK(sender.round().empty());
            const Pages written{0, 1, 5, 700, 701, 1023, kTestPages - 1};
            for (const std::uint64_t page : written) memory.word(page, 511).store(7);
            PageBitmap seen = must(PageBitmap::create(kTestPages));
            must(sender.tracker().peek(RegionId{0}, {5, 1018}, seen));
            must(sender.tracker().peek(RegionId{0}, {kTestPages - 1, 1}, seen));
            const Pages reported = sender.round();
            for (std::uint64_t page = 0; (page = seen.find(page, kTestPages, true)) < kTestPages;
                 ++page) {
                CHECK(std::binary_search(reported.begin(), reported.end(), page));
            }
            check_reported(reported, written, kind);
            CHECK(sender.tracker().can_peek() == (name == "uffd-wp"));
            if (name == "uffd-wp" && kind != GuestMemoryKind::kHugetlb) {
                CHECK(seen.count({0, kTestPages}) == 4);
                CHECK(seen.count({5, 1}) == 1);
            }
            seen.reset();
            must(sender.tracker().peek(RegionId{0}, {0, kTestPages}, seen));
            CHECK(seen.count({0, kTestPages}) == 0);
        });
}

TEST_CASE("a stop ends a tracker's look at memory") {
    for (const DirtyTrackerSupport& support : probe_dirty_trackers()) {
        if (!support.usable) continue;
        INFO(support.name);
        const GuestMemory memory(GuestMemoryKind::kSmallPages, 4);
        memory.fill({0, 4});
        const auto tracker = must(make_dirty_tracker(support.name, memory));
        must(tracker->start());
        std::vector<PageBitmap> dirty;
        dirty.push_back(must(PageBitmap::create(4)));
        std::stop_source stop;
        must(tracker->collect(dirty, stop.get_token()));
        stop.request_stop();
        const Status stopped = tracker->collect(dirty, stop.get_token());
        REQUIRE_FALSE(stopped);
        CHECK(stopped.error().kind() == ErrorKind::kCancelled);
    }
}

TEST_CASE("memory that is mapped anew while it is tracked is an error, not a lost write") {
    const GuestMemory memory(GuestMemoryKind::kSmallPages, 8);
    if (!probe_dirty_trackers()[0].usable) return;
    const auto tracker = must(make_dirty_tracker("uffd-wp", memory));
    must(tracker->start());
    REQUIRE(::mmap(memory.page(2), kPageSize, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
    std::vector<PageBitmap> dirty;
    dirty.push_back(must(PageBitmap::create(8)));
    CHECK_THAT(message_of(tracker->collect(dirty, {})), Catch::Contains("mapped anew"));
}

}  // namespace
}  // namespace migrate::memory
