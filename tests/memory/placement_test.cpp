// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/placement.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "base/splitmix64.hpp"
#include "catch.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/sink/page_placer.hpp"
#include "tests/support/must.hpp"
#include "tests/support/ram_region.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::memory {
namespace {

using Catch::Contains;

constexpr std::uint64_t kPages = 2048;
constexpr std::uint64_t kBufferPages = 128;

// A receiver's memory, with packets that arrive.
class Receiver {
  public:
    explicit Receiver(const std::string& uri, Placement policy = Placement::kAuto,
                      unsigned helpers = 0)
        : sink_(must(open_page_sink(uri))),
          regions_{{"ram", kPages * kPageSize}},
          buffer_(kBufferPages * kPageSize),
          expected_(kPages * kPageSize) {
        must(sink_->prepare(regions_));
        placer_ = must(PagePlacer::create(*sink_, regions_, helpers, {}, policy));
    }

    Placement placement() const { return placer_->placements().front().placement; }
    const std::string& reason() const { return placer_->placements().front().reason; }
    PageSink& sink() { return *sink_; }
    PagePlacer& placer() { return *placer_; }

    // Receives one packet, whose normal pages are filled with `value`.
    Status receive(const std::vector<PageRun>& runs, char value) {
        Destinations to;
        MIGRATE_TRY(placer_->accept(kRam, runs, WrittenBy::kSystemCall, buffer_, to));
        for (const iovec& part : to.parts) std::memset(part.iov_base, value, part.iov_len);
        MIGRATE_TRY(placer_->fill(kRam, to));
        for (const PageRun& run : runs) {
            std::memset(expected_.data() + run.pages.offset_bytes(),
                        run.kind == PageKind::kNormal ? value : 0, run.pages.size_bytes());
        }
        return {};
    }
    Status receive(PageRange pages, PageKind kind, char value = 0) {
        return receive({{pages, kind}}, value);
    }
    // Receives a half of a packet's content, and loses the rest.
    Status lose(const std::vector<PageRun>& runs, char value) {
        Destinations to;
        MIGRATE_TRY(placer_->accept(kRam, runs, WrittenBy::kSystemCall, buffer_, to));
        for (const iovec& part : to.parts) std::memset(part.iov_base, value, part.iov_len / 2);
        placer_->withdraw(kRam, runs, to);
        return {};
    }
    void end_round(std::uint64_t pages) { must(placer_->finish_round(pages)); }
    bool matches() {
        placer_->end_rounds();
        const auto memory = sink_->memory(kRam);
        return std::memcmp(memory.data(), expected_.data(), expected_.size()) == 0;
    }

  private:
    std::unique_ptr<PageSink> sink_;
    std::vector<RegionInfo> regions_;
    std::vector<std::byte> buffer_;
    std::vector<char> expected_;
    std::unique_ptr<PagePlacer> placer_;
};

bool host_has_userfaultfd() { return static_cast<bool>(PageFiller::create()); }

TEST_CASE("4 KiB pages are allocated and filled in one step, huge pages are filled in place") {
    if (!host_has_userfaultfd()) {
        WARN("skipped: this host has no userfaultfd");
        return;
    }
    CHECK(Receiver("anon:huge=off").placement() == Placement::kUffdCopy);
    CHECK(Receiver("memfd:huge=off").placement() == Placement::kUffdCopy);
    const TemporaryFolder folder("/dev/shm");
    CHECK(Receiver(folder / "image").placement() == Placement::kUffdCopy);
    Receiver huge("anon:");
    if (anonymous_huge_pages_allowed()) {
        CHECK(huge.placement() == Placement::kInPlace);
        CHECK_THAT(huge.reason(), Contains("huge page"));
    }
    CHECK_FALSE(Receiver("anon:", Placement::kInPlace).placer().needs_buffer());
}

TEST_CASE("random packets of many rounds arrive in every kind of memory") {
    const TemporaryFolder folder("/dev/shm");
    const TemporaryFolder disk;
    for (const std::string& uri :
         {std::string("anon:huge=off"), std::string("anon:"), std::string("memfd:huge=off"),
          folder / "image", disk / "image"}) {
        for (const unsigned helpers : {0U, 2U}) {
            CAPTURE(uri, helpers);
            Receiver receiver(uri, Placement::kAuto, helpers);
            std::uint64_t state = 7;
            for (char round = 1; round <= 12; ++round) {
                std::uint64_t page = 0;
                std::uint64_t came = 0;
                while (page < kPages) {
                    const std::uint64_t random = splitmix64(state++);
                    const std::uint64_t count = std::min(kPages - page, random % 70 + 1);
                    const auto kind = static_cast<PageKind>((random >> 32) % 3);
                    // A later round leaves pages out.
                    if (round == 1 || (random >> 40) % 2 == 0) {
                        must(receiver.receive({page, count}, kind, round));
                        came += count;
                    }
                    page += count;
                }
                receiver.end_round(came);
            }
            CHECK(receiver.matches());
        }
    }
}

TEST_CASE("a packet may hold fresh pages between pages that were placed before") {
    Receiver receiver("memfd:huge=off");
    must(receiver.receive({3, 2}, PageKind::kNormal, 'a'));
    must(receiver.receive({8, 1}, PageKind::kNormal, 'b'));
    receiver.end_round(3);
    must(receiver.receive(
        {{{0, 6}, PageKind::kNormal}, {{6, 1}, PageKind::kZero}, {{7, 5}, PageKind::kNormal}},
        'c'));
    CHECK(receiver.matches());
}

TEST_CASE("pages that were cleared and given back are made again") {
    for (const char* uri : {"anon:huge=off", "memfd:huge=off"}) {
        CAPTURE(uri);
        Receiver receiver(uri);
        for (char round = 1; round <= 3; ++round) {
            for (std::uint64_t page = 0; page < 1024; page += kBufferPages) {
                must(receiver.receive({page, kBufferPages}, PageKind::kNormal, round));
            }
            receiver.end_round(1024);
            // More than a huge page is given back, less is written with zeros.
            must(receiver.receive({0, 700}, PageKind::kZero));
            must(receiver.receive({900, 20}, PageKind::kUnpopulated));
            receiver.end_round(720);
        }
        must(receiver.receive({600, 120}, PageKind::kNormal, 'x'));
        CHECK(receiver.matches());
    }
}

TEST_CASE("a packet that did not arrive is taken back, and its pages come again in the round") {
    // Memory that is filled by uffd-copy if the host can do it, and received in place.
    for (const char* uri : {"anon:huge=off", "anon:huge=on"}) {
        Receiver receiver(uri);
        INFO(uri << ": " << name_of(receiver.placement()));
        must(receiver.receive({0, 64}, PageKind::kNormal, 'a'));
        receiver.end_round(64);
        // Old and fresh pages, of which a part of the content came.
        must(receiver.lose({{{32, 64}, PageKind::kNormal}, {{100, 4}, PageKind::kZero}}, 'x'));
        CHECK(receiver.placer().arrived(kRam).count({0, kPages}) == 0);
        must(receiver.receive({{{32, 32}, PageKind::kNormal}, {{100, 4}, PageKind::kNormal}}, 'b'));
        must(receiver.receive({{{64, 16}, PageKind::kZero}, {{80, 16}, PageKind::kNormal}}, 'c'));
        CHECK(receiver.placer().arrived(kRam).count({0, kPages}) == 68);
        CHECK_FALSE(receiver.receive({32, 1}, PageKind::kNormal, 'd'));
        CHECK(receiver.matches());
        receiver.end_round(68);
    }
}

TEST_CASE("a page that exists already is overwritten") {
    if (!host_has_userfaultfd()) {
        WARN("skipped: this host has no userfaultfd");
        return;
    }
    const TemporaryFolder folder("/dev/shm");
    Receiver receiver("memfd:huge=off");
    REQUIRE(receiver.placement() == Placement::kUffdCopy);
    // Another writer of the file, such as a QEMU that initialises its memory, made the pages.
    const std::string path = fmt::format("/proc/self/fd/{}", [] {
        for (int fd = 3; fd < 1024; ++fd) {
            std::error_code ignored;
            const auto target =
                std::filesystem::read_symlink(fmt::format("/proc/self/fd/{}", fd), ignored);
            if (target.string().rfind("/memfd:migrate", 0) == 0) return fd;
        }
        return -1;
    }());
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    REQUIRE(file);
    for (const off_t page : {5, 6, 9}) REQUIRE(::pwrite(file.get(), "old", 3, page * 4096) == 3);
    must(receiver.receive({4, 4}, PageKind::kNormal, 'n'));
    must(receiver.receive({9, 1}, PageKind::kNormal, 'n'));
    CHECK(receiver.matches());
}

TEST_CASE("a file system without room is named, whatever the placement") {
    const TemporaryMount small("tmpfs", "size=1m");
    if (!small) {
        WARN("skipped: mounting a tmpfs needs root");
        return;
    }
    for (const auto policy : {Placement::kAuto, Placement::kInPlace}) {
        Receiver receiver(small.folder() / "image", policy, 2);
        Status status;
        for (std::uint64_t page = 0; page < kPages && status; page += kBufferPages) {
            status = receiver.receive({page, kBufferPages}, PageKind::kNormal, 'x');
        }
        CHECK_THAT(message_of(status), Contains("No space left on device"));
        CHECK_THAT(message_of(status), Contains(small.folder() / "image"));
    }
}

TEST_CASE("a placement that a kind of memory does not allow is refused with the remedy") {
    const TemporaryFolder disk;
    const auto sink = must(open_page_sink(disk / "image"));
    const std::vector<RegionInfo> regions{{"ram", kPageSize}};
    must(sink->prepare(regions));
    if (sink->kind(kRam) != BackingKind::kDisk) {
        WARN("skipped: the temporary folder is in memory");
        return;
    }
    const auto placer = PagePlacer::create(*sink, regions, 0, {}, Placement::kUffdCopy);
    CHECK_THAT(message_of(placer), Contains("does not support this file system"));
    CHECK_THAT(message_of(placer), Contains("leave --placement at auto"));
}

TEST_CASE("the end of the rounds frees the memory for other users of userfaultfd") {
    Receiver receiver("anon:huge=off");
    must(receiver.receive({0, 1}, PageKind::kNormal, 'x'));
    receiver.placer().end_rounds();
    receiver.placer().end_rounds();
    // A missing page of registered memory would end this process.
    std::byte& missing = receiver.sink().memory(kRam)[kPageSize];
    CHECK(missing == std::byte{0});
    missing = std::byte{1};
}

TEST_CASE("rounds that go on after their end are received in place") {
    Receiver receiver("anon:huge=off");
    must(receiver.receive({0, 2}, PageKind::kNormal, 'x'));
    receiver.end_round(2);
    receiver.placer().end_rounds();
    receiver.placer().resume_rounds();
    CHECK(receiver.placer().placements().front().placement == Placement::kInPlace);
    must(receiver.receive({1, 2}, PageKind::kNormal, 'y'));
    receiver.end_round(2);
    must(receiver.receive({0, 1}, PageKind::kZero));
    receiver.end_round(1);
    CHECK(receiver.matches());
}

TEST_CASE("every kind of memory is probed, with a reason") {
    const auto supports = probe_placements();
    CHECK(supports.size() == 4);
    for (const PlacementSupport& support : supports) {
        CAPTURE(support.memory);
        CHECK_FALSE(support.choice.reason.empty());
    }
}

}  // namespace
}  // namespace migrate::memory
