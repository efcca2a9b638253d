// SPDX-License-Identifier: Apache-2.0
// Private memory of another process as a sink, beside memory of it in a file.
#include "memory/sink/block_sink.hpp"

#include <fcntl.h>

#include <cstring>

#include "memory/region_digest.hpp"
#include "memory/sink/page_placer.hpp"
#include "tests/catch.hpp"
#include "tests/memory/private_process.hpp"
#include "tests/support/other_process.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::memory {
namespace {

using Catch::Matchers::Contains;

constexpr std::uint64_t kPages = 32;
constexpr std::uint64_t kBytes = kPages * kPageSize;

Status accept_all(OfferedBlocks) { return {}; }

std::unique_ptr<PageSink> sink_of(const PrivateProcess& process, SinkBlock second = {},
                                  AcceptBlocks accept = accept_all) {
    std::vector<SinkBlock> blocks;
    blocks.push_back({process.block()});
    if (!second.block.name.empty()) blocks.push_back(std::move(second));
    return must(make_block_sink("qemu:test", std::move(blocks), process.access(),
                                UnseenProcesses::kAllow, std::move(accept)));
}

SinkBlock file_block(const std::string& path) {
    const UniqueFd made(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(::ftruncate(made.get(), kBytes) == 0);
    SinkBlock block;
    block.block = {.name = "pc.ram", .size_bytes = kBytes};
    block.block.file =
        SharedRegion{"pc.ram", UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC)), kBytes, path};
    block.file_name = "m";
    return block;
}

const std::vector<RegionInfo> kRam{{"ram", kBytes}};

TEST_CASE("a guest's blocks are compared by name and size before a byte changes") {
    struct Offer {
        std::vector<RegionInfo> regions;
        const char* words;
    };
    for (const Offer& offer :
         {Offer{{{"ram", kBytes / 2}}, "'ram' has 64 KiB at the sender and 128 KiB here"},
          Offer{{{"ram", kBytes}, {"vga.vram", kBytes}}, "the sender has 'vga.vram' (128 KiB)"},
          Offer{{{"vga.vram", kBytes}}, "'ram' (128 KiB) is here and missing at the sender"},
          Offer{{{"ram", kBytes}, {"ram", kBytes}}, "twice"}}) {
        INFO(offer.words);
        PrivateProcess process(kPages);
        process.fill(1, 9);
        CHECK_THAT(message_of(sink_of(process)->prepare(offer.regions)), Contains(offer.words));
        CHECK(process.byte_of(1) == 9);
    }
}

TEST_CASE("a sender that is not accepted changes nothing") {
    PrivateProcess process(kPages);
    process.fill(1, 9);
    const auto sink = sink_of(process, {}, [](OfferedBlocks) { return Error("not now"); });
    CHECK_THAT(message_of(sink->prepare(kRam)), Contains("not now"));
    CHECK(process.byte_of(1) == 9);
}

TEST_CASE("clearing memory, private or in a file, ends when it is cancelled") {
    const TemporaryFolder folder;
    PrivateProcess process(kPages);
    process.fill(1, 9);
    SinkBlock file = file_block(folder / "memory");
    write_file(folder / "memory", std::string(kBytes, 'f'));
    const bool both = GENERATE(false, true);
    std::stop_source stop;
    const auto sink = sink_of(process, both ? std::move(file) : SinkBlock{}, [&](OfferedBlocks) {
        stop.request_stop();
        return Status();
    });
    sink->obey(stop.get_token());
    std::vector<RegionInfo> regions = kRam;
    if (both) regions.insert(regions.begin(), {"pc.ram", kBytes});
    const Status prepared = sink->prepare(regions);
    REQUIRE_FALSE(prepared);
    CHECK(prepared.error().kind() == ErrorKind::kCancelled);
    CHECK_THAT(prepared.error().message(), Contains("while the memory of qemu:test was cleared"));
    CHECK(process.byte_of(1) == 9);
    CHECK(read_file(folder / "memory") == std::string(kBytes, 'f'));
}

TEST_CASE("private memory is cleared, and untouched pages of it stay untouched") {
    PrivateProcess process(kPages);
    process.fill(1, 9);
    process.fill(2, 0);
    const auto sink = sink_of(process);
    must(sink->prepare(kRam));
    CHECK(process.byte_of(1) == 0);
    std::vector<PopulationExtent> extents;
    must(sink->population(RegionId{}, {0, kPages}, extents));
    REQUIRE(extents.size() == 3);
    CHECK(extents[1].pages == PageRange{1, 2});
    CHECK(extents[1].populated);
}

// Receives pages as a channel does.
void place(PagePlacer& placer, RegionId region, PageRange pages, unsigned char byte) {
    std::vector<std::byte> buffer(pages.size_bytes());
    Destinations to;
    const std::vector<PageRun> runs{{pages, PageKind::kNormal}};
    must(placer.accept(region, runs, WrittenBy::kSystemCall, buffer, to));
    for (const iovec& part : to.parts) std::memset(part.iov_base, byte, part.iov_len);
    must(placer.fill(region, to));
}

void place_zeros(PagePlacer& placer, RegionId region, PageRange pages) {
    Destinations to;
    const std::vector<PageRun> runs{{pages, PageKind::kZero}};
    must(placer.accept(region, runs, WrittenBy::kSystemCall, {}, to));
}

TEST_CASE("pages are placed in private memory of another process, and placed again") {
    PrivateProcess process(kPages);
    const auto sink = sink_of(process);
    must(sink->prepare(kRam));
    const auto placer = must(PagePlacer::create(*sink, kRam, 0));
    CHECK(placer->needs_buffer());
    place(*placer, RegionId{}, {0, 3}, 7);
    place_zeros(*placer, RegionId{}, {3, kPages - 3});
    must(placer->finish_full_round());
    CHECK(process.byte_of(0) == 7);
    CHECK(process.byte_of(2) == 7);
    place(*placer, RegionId{}, {2, 2}, 8);
    place_zeros(*placer, RegionId{}, {0, 1});
    must(placer->finish_round(3));
    CHECK(process.byte_of(0) == 0);
    CHECK(process.byte_of(1) == 7);
    CHECK(process.byte_of(2) == 8);
    CHECK(process.byte_of(3) == 8);
    must(sink->commit());
    CHECK(must(digest_sink(*sink, kRam, 1, {}))[0] ==
          must(digest_source(*process.source(), 1, {}))[0]);
}

TEST_CASE("a process that has ended takes no page, and its sink cannot be committed") {
    PrivateProcess process(kPages);
    const auto sink = sink_of(process);
    must(sink->prepare(kRam));
    process.end();
    const std::vector<std::byte> page(kPageSize);
    CHECK_THAT(message_of(sink->write(RegionId{}, {0, 1}, page)), Contains("has ended"));
    CHECK_THAT(message_of(sink->commit()), Contains("has ended"));
}

TEST_CASE("private memory and memory in a file are placed side by side") {
    const TemporaryFolder folder("/dev/shm");
    PrivateProcess process(kPages);
    const auto sink = sink_of(process, file_block(folder / "ram"));
    const std::vector<RegionInfo> regions{{"pc.ram", kBytes}, {"ram", kBytes}};
    must(sink->prepare(regions));
    CHECK(sink->is_mapped(RegionId{0}));
    CHECK_FALSE(sink->is_mapped(RegionId{1}));
    const auto placer = must(PagePlacer::create(*sink, regions, 0));
    place(*placer, RegionId{0}, {0, kPages}, 5);
    place(*placer, RegionId{1}, {0, kPages}, 6);
    must(placer->finish_full_round());
    placer->end_rounds();
    CHECK(sink->memory(RegionId{0})[0] == std::byte{5});
    CHECK(process.byte_of(kPages - 1) == 6);
}

TEST_CASE("a sender of files alone is recognized by the names of the backends") {
    const TemporaryFolder folder("/dev/shm");
    PrivateProcess process(kPages);
    process.fill(1, 9);
    std::optional<OfferedBlocks> offered;
    const auto sink = sink_of(process, file_block(folder / "ram"), [&](OfferedBlocks blocks) {
        offered = blocks;
        return Status();
    });
    const std::vector<RegionInfo> regions{{"m", kBytes}};
    must(sink->prepare(regions));
    CHECK(offered == OfferedBlocks::kFiles);
    CHECK(sink->is_mapped(RegionId{0}));
    // The rest is QEMU's to load.
    CHECK(process.byte_of(1) == 9);
}

}  // namespace
}  // namespace migrate::memory
