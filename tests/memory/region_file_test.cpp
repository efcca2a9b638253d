// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/region_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <random>

#include "catch.hpp"
#include "memory/sink/files_sink.hpp"
#include "memory/source/files_source.hpp"
#include "tests/support/must.hpp"
#include "tests/support/ram_region.hpp"
#include "tests/support/seed.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::memory {
namespace {

constexpr std::uint64_t kPages = 64;

UniqueFd new_file(const std::string& path) {
    return UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
}

Digest digest_of_file(const std::string& path) {
    const std::string content = read_file(path);
    return digest_content(reinterpret_cast<const std::byte*>(content.data()),
                          {0, content.size() / kPageSize});
}

std::uint64_t blocks_of(const std::string& path) {
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    return static_cast<std::uint64_t>(status.st_blocks);
}

std::vector<std::byte> pages_of(std::uint64_t count, unsigned char value) {
    return std::vector<std::byte>(count * kPageSize, std::byte{value});
}

TEST_CASE("the digest of a region's file is that of its content after any writes") {
    const TemporaryFolder folder;
    const std::string path = folder / "region";
    const auto file = must(RegionFile::create(new_file(path), kPages * kPageSize, path));
    std::mt19937 random(test_seed());
    const auto up_to = [&random](std::uint64_t most) {
        return std::uniform_int_distribution<std::uint64_t>(0, most)(random);
    };
    for (int turn = 0; turn < 300; ++turn) {
        const std::uint64_t first = up_to(kPages - 1);
        const PageRange pages{first, 1 + up_to(kPages - 1 - first)};
        if (up_to(3) == 0) {
            must(file.clear(pages));
        } else {
            // A third of the pages are zero.
            auto content = pages_of(pages.count, 0);
            for (std::uint64_t page = 0; page < pages.count; ++page) {
                if (up_to(2) != 0)
                    content[page * kPageSize] = static_cast<std::byte>(turn % 250 + 1);
            }
            must(file.write(pages, content));
            auto read = pages_of(pages.count, 0xFF);
            must(file.read(pages, read));
            CHECK(read == content);
        }
        REQUIRE(file.digest() == digest_of_file(path));
    }
    must(file.write_back({}));
}

TEST_CASE("zeros leave holes where nothing was, and replace what was") {
    const TemporaryFolder folder;
    const std::string path = folder / "region";
    const auto file = must(RegionFile::create(new_file(path), kPages * kPageSize, path));
    must(file.write({0, kPages}, pages_of(kPages, 0)));
    CHECK(blocks_of(path) == 0);
    must(file.write({3, 2}, pages_of(2, 'x')));
    must(file.write({3, 1}, pages_of(1, 0)));
    CHECK(read_file(path) == std::string(4 * kPageSize, '\0') + std::string(kPageSize, 'x') +
                                 std::string(59 * kPageSize, '\0'));
    must(file.write({0, kPages}, pages_of(kPages, 'y')));
    must(file.clear({0, kPages}));
    CHECK(file.digest() == Digest{});
    CHECK(read_file(path) == std::string(kPages * kPageSize, '\0'));
}

TEST_CASE("a region's file that another program truncated is an error, not a bundle") {
    const TemporaryFolder folder;
    const std::string path = folder / "region";
    const auto file = must(RegionFile::create(new_file(path), kPages * kPageSize, path));
    REQUIRE(::truncate(path.c_str(), kPageSize) == 0);
    CHECK_THAT(message_of(file.sync()), Catch::Contains("another program changed it"));
    auto read = pages_of(1, 0);
    CHECK_THAT(message_of(file.read({2, 1}, read)), Catch::Contains("was truncated"));
}

TEST_CASE("the writing back ends with a stop") {
    const TemporaryFolder folder;
    const std::string path = folder / "region";
    const auto file = must(RegionFile::create(new_file(path), kPages * kPageSize, path));
    std::stop_source stop;
    stop.request_stop();
    const Status status = file.write_back(stop.get_token());
    REQUIRE_FALSE(status);
    CHECK(status.error().kind() == ErrorKind::kCancelled);
}

TEST_CASE("a region that no file system can hold is refused") {
    const TemporaryFolder folder;
    const std::string path = folder / "region";
    // Beyond the largest offset of a file.
    const auto file = RegionFile::create(new_file(path), std::uint64_t{1} << 63U, path);
    CHECK_THAT(message_of(file), Catch::Contains("give " + path + " its size"));
}

TEST_CASE("regions in files are the same regions when they are read") {
    const TemporaryFolder folder;
    const std::vector<RegionInfo> regions{{"pc.ram", 8 * kPageSize}, {"/rom@x", 2 * kPageSize}};
    FilesSink sink("bundle:x", [&](std::size_t region) -> Result<NewFile> {
        const std::string path = folder / std::to_string(region);
        return NewFile{new_file(path), path};
    });
    must(sink.prepare(regions));
    CHECK_FALSE(sink.is_mapped(kRam));
    CHECK_FALSE(sink.hosts_guest());
    must(sink.write(kRam, {5, 1}, pages_of(1, 'a')));
    must(sink.write(RegionId{1}, {0, 2}, pages_of(2, 'b')));
    must(sink.flush());
    for (std::size_t i = 0; i < regions.size(); ++i) must(sink.sync(static_cast<RegionId>(i)));
    must(sink.commit());
    std::vector<RegionImage> images;
    for (std::size_t i = 0; i < regions.size(); ++i) {
        const std::string path = folder / std::to_string(i);
        images.push_back({regions[i].name, path, UniqueFd(::open(path.c_str(), O_RDONLY))});
    }
    const auto source = must(make_files_source("bundle:x", std::move(images)));
    CHECK(source->is_constant());
    REQUIRE(source->regions().size() == 2);
    for (std::size_t i = 0; i < regions.size(); ++i) {
        CHECK(source->regions()[i].name == regions[i].name);
        CHECK(source->regions()[i].size_bytes == regions[i].size_bytes);
        const auto memory = source->memory(static_cast<RegionId>(i));
        CHECK(digest_pages(memory, {0, regions[i].pages()}) == sink.digests()[i]);
    }
    must(source->check_unchanged());
    REQUIRE(::truncate((folder / "1").c_str(), kPageSize) == 0);
    CHECK_THAT(message_of(source->check_unchanged()), Catch::Contains("was changed while"));
}

}  // namespace
}  // namespace migrate::memory
