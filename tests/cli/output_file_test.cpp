// SPDX-License-Identifier: Apache-2.0
#include "cli/output_file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

#include "base/replacement_file.hpp"
#include "catch.hpp"
#include "tests/support/file_size_limit.hpp"
#include "tests/support/ignored_signal.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::cli {
namespace {

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST_CASE("an output file replaces what an earlier run left, at once and again at the end") {
    const TemporaryFolder folder;
    write_file(folder / "stats", "a long text of the run before");
    const OutputFile file = must(OutputFile::open("stats", folder / "stats", "begins"));
    CHECK(read_file(folder / "stats") == "begins");
    must(file.write("ends"));
    CHECK(read_file(folder / "stats") == "ends");
    CHECK(folder.names() == std::vector<std::string>{"stats"});
}

TEST_CASE("an old file that cannot be replaced is removed, and nothing else is") {
    const TemporaryFolder folder;
    write_file(folder / "stats", "completed");
    const auto opened = [&] {
        // No byte can be written: as on a full disk.
        const IgnoredSignal ignored(SIGXFSZ);
        const FileSizeLimit none(0);
        return OutputFile::open("stats", folder / "stats", "begins");
    }();
    REQUIRE_FALSE(opened);
    CHECK(opened.error().kind() == ErrorKind::kUsage);
    CHECK(folder.names().empty());
}

TEST_CASE("a file that an output must not replace stays") {
    const TemporaryFolder folder;
    write_file(folder / "image", "memory");
    REQUIRE(::symlink("image", (folder / "stats").c_str()) == 0);
    CHECK_FALSE(OutputFile::open("stats", folder / "stats", "begins"));
    CHECK(read_file(folder / "image") == "memory");
    CHECK(folder.names().size() == 2);
}

TEST_CASE("a file that was not opened is left alone until it is written") {
    const TemporaryFolder folder;
    write_file(folder / "stats", "old");
    const OutputFile file = OutputFile::unopened("stats", folder / "stats");
    CHECK(read_file(folder / "stats") == "old");
    must(file.write("new"));
    CHECK(read_file(folder / "stats") == "new");
}

TEST_CASE("an output file without a path writes nowhere") {
    must(must(OutputFile::open("stats", "", "text")).write("more"));
    must(OutputFile().write("more"));
}

TEST_CASE("a reader of the old file keeps a whole text") {
    const TemporaryFolder folder;
    write_file(folder / "stats", "old");
    std::ifstream reader(folder / "stats", std::ios::binary);
    const OutputFile file = must(OutputFile::open("stats", folder / "stats", "begins"));
    CHECK(std::string(std::istreambuf_iterator<char>(reader), {}) == "old");
}

TEST_CASE("an output file keeps the permissions of the one that it replaces") {
    const TemporaryFolder folder;
    write_file(folder / "stats", "old");
    REQUIRE(::chmod((folder / "stats").c_str(), 0640) == 0);
    must(OutputFile::open("stats", folder / "stats", "begins"));
    struct stat found {};
    REQUIRE(::stat((folder / "stats").c_str(), &found) == 0);
    CHECK((found.st_mode & 07777U) == 0640U);
}

TEST_CASE("a temporary name that is taken is left alone") {
    const TemporaryFolder folder;
    const std::string taken = folder / ("stats." + std::to_string(::getpid()) + ".0");
    write_file(folder / "victim", "untouched");
    REQUIRE(::symlink((folder / "victim").c_str(), taken.c_str()) == 0);
    must(OutputFile::open("stats", folder / "stats", "begins"));
    CHECK(read_file(folder / "stats") == "begins");
    CHECK(read_file(folder / "victim") == "untouched");
}

TEST_CASE("a path that is not a regular file is refused by name and left alone") {
    const TemporaryFolder folder;
    write_file(folder / "victim", "untouched");
    REQUIRE(::symlink((folder / "victim").c_str(), (folder / "link").c_str()) == 0);
    REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
    for (const std::string& path :
         {folder / "link", folder / "fifo", folder.path(), std::string("/dev/null")}) {
        INFO(path);
        const auto file = OutputFile::open("stats", path, "text");
        REQUIRE_FALSE(file);
        CHECK(file.error().kind() == ErrorKind::kUsage);
        CHECK(has(file.error().message(), "the stats file " + path));
        const Status removed = remove_old_file("port", path);
        REQUIRE_FALSE(removed);
        CHECK(removed.error().kind() == ErrorKind::kUsage);
        CHECK_FALSE(write_whole_file(path, "text"));
    }
    CHECK(read_file(folder / "victim") == "untouched");
    CHECK(folder.names().size() == 3);
}

TEST_CASE("a file that cannot be written is an error at once, by its name") {
    const TemporaryFolder folder;
    const auto file = OutputFile::open("stats", folder / "missing/stats", "text");
    REQUIRE_FALSE(file);
    CHECK(file.error().kind() == ErrorKind::kUsage);
    CHECK(has(file.error().message(), folder / "missing/stats"));
}

TEST_CASE("a full disk leaves the text that was there, and nothing beside it") {
    const TemporaryMount disk("tmpfs", "size=64k");
    if (!disk) {
        WARN("no file system can be mounted here; the case is not covered");
        return;
    }
    const OutputFile file = must(OutputFile::open("stats", disk.folder() / "stats", "begins"));
    const Status written = file.write(std::string(1 << 20, 'x'));
    REQUIRE_FALSE(written);
    CHECK(has(written.error().message(), "No space left on device"));
    CHECK(read_file(disk.folder() / "stats") == "begins");
    CHECK(disk.folder().names() == std::vector<std::string>{"stats"});
}

TEST_CASE("an old file is removed, and nothing there is fine") {
    const TemporaryFolder folder;
    write_file(folder / "port", "4444\n");
    must(remove_old_file("port", folder / "port"));
    CHECK(folder.names().empty());
    must(remove_old_file("port", folder / "port"));
    must(remove_old_file("port", ""));
}

}  // namespace
}  // namespace migrate::cli
