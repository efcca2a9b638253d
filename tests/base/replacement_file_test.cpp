// SPDX-License-Identifier: Apache-2.0
#include "base/replacement_file.hpp"

#include <sys/mount.h>
#include <sys/stat.h>

#include <filesystem>

#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate {
namespace {

TEST_CASE("a file written whole is new: who has the old one open keeps it") {
    const TemporaryFolder folder;
    const std::string path = folder / "file";
    write_file(path, "old");
    std::ifstream old(path);
    must(write_whole_file(path, "new"));
    CHECK(read_file(path) == "new");
    std::string kept;
    old >> kept;
    CHECK(kept == "old");
    CHECK(folder.names() == std::vector<std::string>{"file"});
}

TEST_CASE(
    "a file that is not published leaves nothing, on a file system with unnamed files or not") {
    for (const std::string parent : {"/tmp", "/dev/shm"}) {
        const TemporaryFolder folder(parent);
        {
            auto file = must(ReplacementFile::create(folder / "file"));
            const UniqueFd temporary = must(file.open_temporary());
            must(write_all(temporary.get(), "lost", "it"));
        }
        CHECK(folder.names().empty());
    }
}

TEST_CASE("a name is given to a new file only if it is free or a regular file's only name") {
    const TemporaryFolder folder;
    write_file(folder / "file", "old");
    std::filesystem::create_symlink("file", folder / "link");
    std::filesystem::create_symlink("absent", folder / "dangling");
    std::filesystem::create_directory(folder / "folder");
    write_file(folder / "linked", "old");
    std::filesystem::create_hard_link(folder / "linked", folder / "linked too");
    REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
    CHECK(check_replaceable(folder / "file"));
    CHECK(check_replaceable(folder / "new"));
    struct Bad {
        std::string path;
        const char* what;
    };
    for (const Bad& bad :
         {Bad{folder / "link", "a symbolic link"}, Bad{folder / "dangling", "a symbolic link"},
          Bad{folder / "folder", "a folder"}, Bad{folder / "linked", "a file with 2 names"},
          Bad{folder / "linked too", "a file with 2 names"}, Bad{folder / "fifo", "a FIFO"},
          Bad{"/dev/null", "a character device"}, Bad{"/dev/stdout", "a symbolic link"}}) {
        INFO(bad.path);
        for (const Status& refused :
             {check_replaceable(bad.path), write_whole_file(bad.path, "x")}) {
            REQUIRE_FALSE(refused);
            CHECK(refused.error().kind() == ErrorKind::kUsage);
            CHECK_THAT(message_of(refused), Catch::Contains(bad.path + " is " + bad.what));
        }
    }
    CHECK(read_file(folder / "file") == "old");
    CHECK_FALSE(std::filesystem::exists(folder / "absent"));
}

TEST_CASE("a file of /proc or /sys is no file that can be replaced") {
    const std::string before = read_file("/proc/self/oom_score_adj");
    CHECK_FALSE(write_whole_file("/proc/self/oom_score_adj", "1000"));
    CHECK(read_file("/proc/self/oom_score_adj") == before);
}

TEST_CASE("a file that took the name meanwhile is not replaced") {
    const TemporaryFolder folder;
    auto file = must(ReplacementFile::create(folder / "file"));
    const UniqueFd temporary = must(file.open_temporary());
    REQUIRE(::mkfifo((folder / "file").c_str(), 0600) == 0);
    const Status published = file.publish(temporary.get());
    CHECK_THAT(message_of(published), Catch::Contains("is a FIFO"));
    CHECK(published.error().kind() == ErrorKind::kFailed);
    CHECK(std::filesystem::is_fifo(folder / "file"));
}

TEST_CASE("a file that is bound over another is not replaced", "[mount]") {
    const TemporaryFolder folder;
    write_file(folder / "mine", "mine");
    write_file(folder / "bound", "under it");
    if (::mount((folder / "mine").c_str(), (folder / "bound").c_str(), nullptr, MS_BIND, nullptr) !=
        0) {
        WARN("a file can be bound by root only; nothing was tested");
        return;
    }
    const Status refused = write_whole_file(folder / "bound", "x");
    ::umount2((folder / "bound").c_str(), MNT_DETACH);
    CHECK_THAT(message_of(refused), Catch::Contains("is a mount point"));
    CHECK(read_file(folder / "mine") == "mine");
}

}  // namespace
}  // namespace migrate
