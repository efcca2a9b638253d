// SPDX-License-Identifier: Apache-2.0
#include "memory/source/file_source.hpp"

#include <sys/stat.h>

#include <array>
#include <functional>
#include <stop_token>
#include <thread>

#include "base/fault_guard.hpp"
#include "catch.hpp"
#include "memory/region_digest.hpp"
#include "tests/support/must.hpp"
#include "tests/support/ram_region.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::memory {
namespace {

TEST_CASE("a file is one region that reads as the file does") {
    const TemporaryFolder folder;
    write_sparse_file(folder / "image", 6, {1, 4});
    const auto source = must(open_page_source("file:" + folder / "image"));
    REQUIRE(source->regions().size() == 1);
    CHECK(source->regions()[0].name == "ram");
    CHECK(source->regions()[0].size_bytes == 6 * kPageSize);
    CHECK(source->description() == "file:" + folder / "image");
    must(source->prefault(kRam, {0, 6}));
    const auto memory = source->memory(kRam);
    REQUIRE(memory.size() == 6 * kPageSize);
    CHECK(memory[kPageSize] == std::byte{1});
    CHECK(memory[5 * kPageSize - 1] == std::byte{4});
    CHECK(memory[0] == std::byte{0});
    std::vector<PopulationExtent> extents;
    must(source->population(kRam, {0, 6}, extents));
    CHECK(extents.size() == 5);
}

TEST_CASE("a file that is not a usable image is a usage error with the reason") {
    const TemporaryFolder folder;
    write_file(folder / "odd", std::string(5000, 'x'));
    write_file(folder / "empty", "");
    REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
    struct Bad {
        std::string path;
        const char* why;
    };
    for (const Bad& bad :
         {Bad{folder / "absent", "No such file or directory"},
          Bad{folder / "odd", "5000 bytes is not a multiple of the page size, 4096"},
          Bad{folder / "empty", "is empty"}, Bad{folder / "fifo", "is a FIFO"},
          Bad{folder.path(), "is a folder"}, Bad{"/dev/zero", "is a character device"}}) {
        const auto source = open_page_source(bad.path);
        INFO(bad.path);
        CHECK_THAT(message_of(source), Catch::Contains(bad.why));
        CHECK_THAT(message_of(source), Catch::Contains(bad.path));
        CHECK(source.error().kind() == ErrorKind::kUsage);
    }
}

TEST_CASE("a file truncated while in use is an error of prefault, population and digest") {
    const TemporaryFolder folder;
    const std::string path = folder / "image";
    write_sparse_file(path, 8, {0, 1, 2, 3, 4, 5, 6, 7});
    const auto source = must(open_page_source(path));
    REQUIRE(::truncate(path.c_str(), 4 * kPageSize) == 0);
    must(source->prefault(kRam, {0, 4}));
    CHECK_THAT(message_of(source->prefault(kRam, {0, 8})), Catch::Contains("truncated"));
    CHECK_THAT(message_of(source->prefault(kRam, {0, 8})), Catch::Contains(path));
    std::vector<PopulationExtent> extents;
    CHECK_THAT(message_of(source->population(kRam, {0, 8}, extents)), Catch::Contains("truncated"));
    CHECK_FALSE(digest_source(*source, 2, {}));
    std::byte value{};
    CHECK_FALSE(guard_reads(path, [&] { value = source->memory(kRam)[6 * kPageSize]; }));
}

TEST_CASE("a file that was changed while it was sent is an error at the end") {
    const TemporaryFolder folder;
    const std::string path = folder / "image";
    const auto cut = [&path](std::uint64_t pages) {
        REQUIRE(::truncate(path.c_str(), static_cast<off_t>(pages * kPageSize)) == 0);
    };
    struct Change {
        std::function<void()> make;
        const char* what;
    };
    const std::vector<Change> changes{
        {[&] { cut(4); }, "had 32768 bytes and has 16384"},
        {[&] { cut(9); }, "had 32768 bytes and has 36864"},
        {[&] { cut(4), cut(8); }, "was written to while it was sent"},
        {[&] { std::fstream(path, std::ios::in | std::ios::out) << "x"; },
         "was written to while it was sent"}};
    for (const Change& change : changes) {
        write_sparse_file(path, 8, {0, 3, 7});
        // Long ago: the clock of a file's times is coarse.
        const std::array<timespec, 2> before{timespec{1, 0}, timespec{1, 0}};
        REQUIRE(::utimensat(AT_FDCWD, path.c_str(), before.data(), 0) == 0);
        const auto source = must(open_page_source(path));
        must(source->check_unchanged());
        change.make();
        CHECK_THAT(message_of(source->check_unchanged()),
                   Catch::Contains(path) && Catch::Contains(change.what));
    }
}

TEST_CASE("a file that is read, renamed or given another name meanwhile is unchanged") {
    const TemporaryFolder folder;
    write_sparse_file(folder / "image", 8, {0, 3, 7});
    const auto source = must(open_page_source(folder / "image"));
    static_cast<void>(read_file(folder / "image"));
    std::filesystem::create_hard_link(folder / "image", folder / "name");
    std::filesystem::rename(folder / "image", folder / "renamed");
    must(source->check_unchanged());
}

TEST_CASE("a file's identity is the same by every path to it") {
    const TemporaryFolder folder;
    write_sparse_file(folder / "image", 2, {0});
    std::filesystem::create_symlink("image", folder / "link");
    std::filesystem::create_hard_link(folder / "image", folder / "name");
    const auto by_path = must(open_page_source(folder / "image"))->file_of(kRam);
    REQUIRE(by_path);
    CHECK(must(open_page_source(folder / "link"))->file_of(kRam) == by_path);
    CHECK(must(open_page_source(folder / "name"))->file_of(kRam) == by_path);
    CHECK_FALSE(must(open_page_source("anon:1M"))->file_of(kRam));
}

TEST_CASE("a file on tmpfs is read through its mapping, unless its holes are read too") {
    const TemporaryFolder folder("/dev/shm");
    write_sparse_file(folder / "image", 6, {1, 4});
    const auto source = must(open_page_source(folder / "image"));
    CHECK_FALSE(source->prefers_read(false));
    CHECK(source->prefers_read(true));
}

TEST_CASE("a file is read without being mapped, and its holes stay holes") {
    const TemporaryFolder folder("/var/tmp");
    const std::string path = folder / "image";
    write_sparse_file(path, 6, {1, 4});
    const auto source = must(open_page_source(path));
    REQUIRE(source->prefers_read(false));
    std::vector<std::byte> copy(5 * kPageSize, std::byte{0xff});
    must(source->read(kRam, {1, 5}, copy.data()));
    CHECK(copy[0] == std::byte{1});
    CHECK(copy[kPageSize] == std::byte{0});
    CHECK(copy[4 * kPageSize - 1] == std::byte{4});
    CHECK(copy.back() == std::byte{0});
    std::vector<PopulationExtent> extents;
    must(source->population(kRam, {0, 6}, extents));
    CHECK(extents.size() == 5);

    REQUIRE(::truncate(path.c_str(), 4 * kPageSize) == 0);
    CHECK_THAT(message_of(source->read(kRam, {1, 5}, copy.data())), Catch::Contains("truncated"));
    CHECK_THAT(message_of(source->read(kRam, {1, 5}, copy.data())), Catch::Contains(path));
}

TEST_CASE("threads may ask one file for its population at the same time") {
    const TemporaryFolder folder;
    write_sparse_file(folder / "image", 512, {3, 100, 101, 400});
    const auto source = must(open_page_source(folder / "image"));
    std::atomic<int> wrong{0};
    {
        std::vector<std::jthread> threads;
        for (std::uint64_t i = 0; i < 4; ++i) {
            threads.emplace_back([&, i] {
                std::vector<PopulationExtent> extents;
                for (int turn = 0; turn < 200; ++turn) {
                    extents.clear();
                    if (!source->population(kRam, {i * 128, 128}, extents)) ++wrong;
                    std::uint64_t populated = 0;
                    for (const auto& e : extents) populated += e.populated ? e.pages.count : 0;
                    if (populated != (i == 0 ? 3U : i == 3 ? 1U : 0U)) ++wrong;
                }
            });
        }
    }
    CHECK(wrong == 0);
}

}  // namespace
}  // namespace migrate::memory
