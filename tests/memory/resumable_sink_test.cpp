// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/resumable_sink.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "catch.hpp"
#include "memory/sink/page_sink.hpp"
#include "tests/support/must.hpp"
#include "tests/support/ram_region.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::memory {
namespace {

using Catch::Matchers::Contains;

constexpr std::uint64_t kPages = 64;
using Names = std::vector<std::string>;

Names names_in(const TemporaryFolder& folder) {
    Names names = folder.names();
    std::sort(names.begin(), names.end());
    return names;
}

// A transfer into FOLDER/image.
struct Attempt {
    explicit Attempt(const TemporaryFolder& folder, std::uint64_t pages = kPages)
        : sink(must(open_page_sink("file:" + folder / "image", Resume::kYes))) {
        sink->name_source("host a");
        const RegionInfo region{"ram", pages * kPageSize};
        must(sink->prepare({&region, 1}));
    }
    void receive(PageRange pages, char value) const {
        must(sink->prefault(kRam, pages));
        std::memset(sink->memory(kRam).data() + pages.offset_bytes(), value, pages.size_bytes());
        const PageRun run{pages, PageKind::kNormal};
        sink->note_arrived(kRam, {&run, 1});
    }
    // The pages of the earlier transfer that are there.
    std::vector<PageRange> known(PageRange range = {0, kPages}) const {
        std::vector<PageRange> pages;
        std::vector<std::byte> content(range.size_bytes());
        if (sink->partial() != nullptr) sink->partial()->read(kRam, range, content, pages);
        return pages;
    }

    std::unique_ptr<PageSink> sink;
};

TEST_CASE("a transfer that broke off leaves what arrived, and the next one finds it") {
    for (const std::string parent : {"/tmp", "/dev/shm"}) {
        const TemporaryFolder folder(parent);
        {
            const Attempt first(folder);
            first.receive({3, 4}, 'a');
            first.receive({20, 2}, 'b');
        }
        CHECK(names_in(folder) == Names{"image.partial", "image.partial.journal"});
        const Attempt second(folder);
        CHECK(second.known() == std::vector<PageRange>{{3, 4}, {20, 2}});
        CHECK(second.known({4, 17}) == std::vector<PageRange>{{4, 3}, {20, 1}});
    }
}

TEST_CASE("a complete image gets its name, and nothing is left beside it") {
    const TemporaryFolder folder;
    write_file(folder / "image", "old");
    { Attempt(folder).receive({1, 1}, 'a'); }
    CHECK(read_file(folder / "image") == "old");
    const Attempt last(folder);
    last.sink->partial()->confirm(kRam, {1, 1});
    must(last.sink->partial()->give_up_rest());
    last.receive({2, 1}, 'b');
    must(last.sink->commit());
    CHECK(names_in(folder) == Names{"image"});
    const std::string image = read_file(folder / "image");
    CHECK(image.size() == kPages * kPageSize);
    CHECK(
        (image.substr(0, 3 * kPageSize) ==
         std::string(kPageSize, '\0') + std::string(kPageSize, 'a') + std::string(kPageSize, 'b')));
}

TEST_CASE("a transfer of which nothing arrived leaves no file") {
    const TemporaryFolder folder;
    { const Attempt attempt(folder); }
    CHECK(folder.names().empty());
}

TEST_CASE("pages that somebody changed behind the journal are not known") {
    const TemporaryFolder folder;
    { Attempt(folder).receive({0, 8}, 'a'); }
    std::string partial = read_file(folder / "image.partial");
    partial[3 * kPageSize + 17] = 'x';
    write_file(folder / "image.partial", partial);
    const Attempt second(folder);
    CHECK(second.known() == std::vector<PageRange>{{0, 3}, {4, 4}});
}

TEST_CASE("a partial image that became shorter has the pages that are left") {
    const TemporaryFolder folder;
    { Attempt(folder).receive({0, 8}, 'a'); }
    std::filesystem::resize_file(folder / "image.partial", 5 * kPageSize + 100);
    const Attempt second(folder);
    CHECK(second.known() == std::vector<PageRange>{{0, 5}});
}

TEST_CASE("a page that is given up is not known any more, whatever happens next") {
    const TemporaryFolder folder;
    { Attempt(folder).receive({0, 8}, 'a'); }
    const std::vector<PageRange> asked{{0, 4}};
    {
        const Attempt second(folder);
        second.sink->partial()->confirm(kRam, {1, 2});
        must(second.sink->partial()->give_up(kRam, asked));
        CHECK(second.known() == std::vector<PageRange>{{1, 2}, {4, 4}});
    }
    {
        const Attempt third(folder);
        CHECK(third.known() == std::vector<PageRange>{{1, 2}, {4, 4}});
        third.sink->partial()->confirm(kRam, {5, 1});
        must(third.sink->partial()->give_up_rest());
    }
    CHECK(Attempt(folder).known() == std::vector<PageRange>{{5, 1}});
}

TEST_CASE("content of before that is not known counts as content, so that zeros overwrite it") {
    const TemporaryFolder folder("/dev/shm");
    { Attempt(folder).receive({8, 8}, 'a'); }
    const Attempt second(folder);
    PageBitmap content = must(PageBitmap::create(kPages));
    must(second.sink->find_content(kRam, content));
    CHECK(content.count({8, 8}) == 8);
    CHECK(content.count({0, kPages}) == 8);
}

TEST_CASE("what the file holds beside the journal is known, to be written again") {
    const TemporaryFolder folder;
    { Attempt(folder).receive({8, 8}, 'a'); }
    std::filesystem::resize_file(folder / "image.partial.journal", 512);
    const Attempt second(folder);
    CHECK(second.known().empty());
    std::vector<PageRange> pages;
    std::vector<std::byte> content(kPages * kPageSize);
    second.sink->leftovers()->read(kRam, {0, kPages}, content, pages);
    CHECK(pages == std::vector<PageRange>{{8, 8}});
    CHECK(content[8 * kPageSize] == std::byte{'a'});
}

TEST_CASE("an image of another size begins anew") {
    const TemporaryFolder folder;
    { Attempt(folder).receive({0, 8}, 'a'); }
    {
        const Attempt other(folder, 2 * kPages);
        CHECK(other.sink->partial() == nullptr);
        CHECK(other.sink->leftovers() == nullptr);
        CHECK(std::filesystem::file_size(folder / "image.partial") == 2 * kPages * kPageSize);
        other.receive({0, 1}, 'b');
    }
    CHECK(Attempt(folder, 2 * kPages).known() == std::vector<PageRange>{{0, 1}});
}

TEST_CASE("a partial file without a journal is not touched") {
    const TemporaryFolder folder;
    write_file(folder / "image.partial", "mine");
    const auto sink = must(open_page_sink("file:" + folder / "image", Resume::kYes));
    const RegionInfo region{"ram", kPages * kPageSize};
    CHECK_THAT(message_of(sink->prepare({&region, 1})),
               Contains("image.partial cannot be continued") && Contains("no journal"));
    CHECK(read_file(folder / "image.partial") == "mine");
    CHECK(names_in(folder) == Names{"image.partial"});
}

TEST_CASE("a link in the place of the partial file or of the journal is refused") {
    for (const std::string name : {"image.partial", "image.partial.journal"}) {
        const TemporaryFolder folder;
        write_file(folder / "other", "mine");
        std::filesystem::create_symlink(folder / "other", folder / name);
        const auto sink = must(open_page_sink("file:" + folder / "image", Resume::kYes));
        const RegionInfo region{"ram", kPages * kPageSize};
        CHECK_THAT(message_of(sink->prepare({&region, 1})), Contains("symbolic link"));
        CHECK(read_file(folder / "other") == "mine");
    }
}

TEST_CASE("one receiver at a time writes a partial image") {
    const TemporaryFolder folder;
    const Attempt first(folder);
    const auto second = must(open_page_sink("file:" + folder / "image", Resume::kYes));
    const RegionInfo region{"ram", kPages * kPageSize};
    const Status refused = second->prepare({&region, 1});
    CHECK_THAT(message_of(refused), Contains("another migrate receives into"));
}

TEST_CASE("only a transfer into a file can be resumed") {
    for (const std::string uri : {"anon:", "memfd:", "null:", "qemu:/run/vm.qmp", "bundle:/b"}) {
        const auto sink = open_page_sink(uri, Resume::kYes);
        CHECK_THAT(message_of(sink), Contains("option resume") && Contains(uri));
    }
}

TEST_CASE("the partial file has the mode of the file that it will replace, or is private") {
    const TemporaryFolder folder;
    const auto mode_of = [&](const std::string& name) {
        struct stat status {};
        REQUIRE(::stat((folder / name).c_str(), &status) == 0);
        return status.st_mode & 0777U;
    };
    {
        const Attempt attempt(folder);
        CHECK(mode_of("image.partial") == 0600);
        CHECK(mode_of("image.partial.journal") == 0600);
    }
    write_file(folder / "image", "old");
    REQUIRE(::chmod((folder / "image").c_str(), 0640) == 0);
    const Attempt attempt(folder);
    CHECK(mode_of("image.partial") == 0640);
}

}  // namespace
}  // namespace migrate::memory
