// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/file_sink.hpp"

#include <sys/stat.h>

#include <cstring>
#include <iostream>

#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/ram_region.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::memory {
namespace {

RegionInfo ram(std::uint64_t pages) { return {"ram", pages * kPageSize}; }

std::unique_ptr<PageSink> prepared(const std::string& uri, std::uint64_t pages) {
    auto sink = must(open_page_sink(uri));
    const RegionInfo region = ram(pages);
    must(sink->prepare({&region, 1}));
    return sink;
}

void fill(const PageSink& sink, PageRange range, char value) {
    must(sink.prefault(kRam, range));
    std::memset(sink.memory(kRam).data() + range.offset_bytes(), value, range.size_bytes());
}

struct stat status_of(const std::string& path) {
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    return status;
}

TEST_CASE("a committed file has the content and nothing else is in its folder") {
    for (const std::string parent : {"/tmp", "/dev/shm"}) {
        const TemporaryFolder folder(parent);
        {
            const auto sink = prepared("file:" + folder / "image", 3);
            CHECK(folder.names().empty());
            fill(*sink, {1, 1}, 'x');
            must(sink->commit());
        }
        CHECK(folder.names() == std::vector<std::string>{"image"});
        CHECK((read_file(folder / "image") == std::string(kPageSize, '\0') +
                                                  std::string(kPageSize, 'x') +
                                                  std::string(kPageSize, '\0')));
    }
}

TEST_CASE("a sink that is not committed leaves the old file and nothing of its own") {
    const TemporaryFolder folder;
    write_file(folder / "image", "old");
    {
        const auto sink = prepared(folder / "image", 4);
        fill(*sink, {0, 4}, 'n');
    }
    CHECK(read_file(folder / "image") == "old");
    CHECK(folder.names() == std::vector<std::string>{"image"});
}

TEST_CASE("a file is replaced in one step: who has the old one open keeps it") {
    const TemporaryFolder folder;
    write_file(folder / "image", "old");
    std::ifstream old(folder / "image");
    const auto sink = prepared(folder / "image", 1);
    fill(*sink, {0, 1}, 'n');
    must(sink->commit());
    CHECK((read_file(folder / "image") == std::string(kPageSize, 'n')));
    std::string kept;
    old >> kept;
    CHECK(kept == "old");
}

TEST_CASE("the new file has the mode of the one it replaces, or is private, or as the umask says") {
    const TemporaryFolder folder;
    write_file(folder / "secret", "old");
    REQUIRE(::chmod((folder / "secret").c_str(), 0640) == 0);
    must(prepared(folder / "secret", 1)->commit());
    CHECK((status_of(folder / "secret").st_mode & 07777U) == 0640U);

    for (const auto& [mask, mode] : {std::pair(0U, 0600U), {027U, 0600U}, {0277U, 0400U}}) {
        const mode_t before = ::umask(mask);
        must(prepared(folder / "new", 1)->commit());
        ::umask(before);
        CHECK((status_of(folder / "new").st_mode & 07777U) == mode);
        std::filesystem::remove(folder / "new");
    }
}

TEST_CASE("a path that cannot become a file is a usage error before any sender comes") {
    const TemporaryFolder folder;
    std::filesystem::create_directory(folder / "folder");
    write_file(folder / "image", "old");
    std::filesystem::create_symlink("image", folder / "link");
    std::filesystem::create_symlink("absent", folder / "dangling");
    write_file(folder / "one name", "old");
    std::filesystem::create_hard_link(folder / "one name", folder / "another name");
    REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
    struct Bad {
        std::string path;
        const char* why;
    };
    for (const Bad& bad :
         {Bad{folder / "absent/image", "No such file or directory"},
          Bad{folder / "folder", "is a folder"}, Bad{folder / "folder/", "is a folder"},
          Bad{folder / "link", "is a symbolic link"},
          Bad{folder / "dangling", "is a symbolic link"}, Bad{folder / "one name", "with 2 names"},
          Bad{folder / "fifo", "is a FIFO"}, Bad{"/dev/null", "is a character device"},
          Bad{"/dev/zero", "is a character device"}}) {
        const auto sink = open_page_sink("file:" + bad.path);
        INFO(bad.path);
        CHECK_THAT(message_of(sink), Catch::Contains(bad.why));
        CHECK(sink.error().kind() == ErrorKind::kUsage);
    }
    CHECK(read_file(folder / "image") == "old");
}

TEST_CASE("more than one region, or none, is refused with the limit") {
    const TemporaryFolder folder;
    const auto sink = must(open_page_sink(folder / "image"));
    const std::vector<RegionInfo> regions{ram(1), ram(2)};
    CHECK_THAT(message_of(sink->prepare(regions)), Catch::Contains("exactly one memory region"));
    CHECK_FALSE(sink->prepare({}));
    CHECK(folder.names().empty());
}

TEST_CASE("absurd sizes from the peer are errors and leave nothing") {
    for (const std::string parent : {"/tmp", "/dev/shm"}) {
        const TemporaryFolder folder(parent);
        for (const std::uint64_t size :
             {~std::uint64_t{0} - kPageSize + 1, std::uint64_t{1} << 63U,
              (std::uint64_t{1} << 63U) - kPageSize, std::uint64_t{1} << 60U}) {
            const auto sink = must(open_page_sink(folder / "image"));
            const RegionInfo region{"ram", size};
            CHECK_FALSE(sink->prepare({&region, 1}));
        }
        CHECK(folder.names().empty());
    }
}

TEST_CASE("holes stay holes, and cleared runs become zeros") {
    for (const std::string parent : {"/tmp", "/dev/shm"}) {
        const TemporaryFolder folder(parent);
        constexpr std::uint64_t kPages = 64 * kMiB / kPageSize;
        const auto sink = prepared(folder / "image", kPages);
        fill(*sink, {3000, 4000}, 'x');
        must(sink->clear(kRam, {3001, 3500}));  // long: given back
        must(sink->clear(kRam, {6600, 3}));     // short: written
        std::vector<PopulationExtent> extents;
        must(sink->population(kRam, {0, kPages}, extents));
        CHECK_FALSE(extents.front().populated);
        CHECK_FALSE(extents.back().populated);
        must(sink->commit());
        CHECK(status_of(folder / "image").st_blocks * 512 < off_t{8 * kMiB});
        const std::string content = read_file(folder / "image");
        std::string expected(kPages * kPageSize, '\0');
        std::memset(expected.data() + 3000 * kPageSize, 'x', 4000 * kPageSize);
        std::memset(expected.data() + 3001 * kPageSize, 0, 3500 * kPageSize);
        std::memset(expected.data() + 6600 * kPageSize, 0, 3 * kPageSize);
        CHECK((content == expected));
    }
}

TEST_CASE("prefault reports a full disk, and leaves nothing") {
    const TemporaryMount small("tmpfs", "size=1m");
    if (!small) {
        WARN("skipped: mounting a tmpfs needs root");
        return;
    }
    {
        const auto sink = prepared(small.folder() / "image", 1024);
        Status status;
        for (std::uint64_t page = 0; page < 1024 && status; page += 64) {
            status = sink->prefault(kRam, {page, 64});
        }
        CHECK_THAT(message_of(status), Catch::Contains("No space left on device"));
        CHECK_THAT(message_of(status), Catch::Contains(small.folder() / "image"));
    }
    CHECK(small.folder().names().empty());
}

TEST_CASE(
    "a file system without unnamed files gets a hidden one, gone when the sink is not committed") {
    // ramfs has no O_TMPFILE before Linux 6.13 or so; vfat never had it. Whichever way it goes, the
    // promise holds.
    const TemporaryMount plain("ramfs", "");
    if (!plain) {
        WARN("skipped: mounting a ramfs needs root");
        return;
    }
    const TemporaryFolder& folder = plain.folder();
    write_file(folder / "image", "old");
    fill(*prepared(folder / "image", 2), {0, 1}, 'n');
    CHECK(folder.names() == std::vector<std::string>{"image"});
    CHECK(read_file(folder / "image") == "old");
    must(prepared(folder / "image", 2)->commit());
    CHECK(folder.names() == std::vector<std::string>{"image"});
    CHECK(read_file(folder / "image").size() == 2 * kPageSize);
}

}  // namespace
}  // namespace migrate::memory
