// SPDX-License-Identifier: Apache-2.0
#include "qmp/socket_file.hpp"

#include <sys/socket.h>

#include <filesystem>
#include <optional>

#include "catch.hpp"
#include "tests/qmp/raw_qmp.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/unix_socket.hpp"

namespace migrate::qmp {
namespace {

namespace fs = std::filesystem;

class Place {
  public:
    const std::string& path() const { return path_; }
    std::string address() const { return "unix:" + path_; }
    bool exists() const { return fs::exists(fs::symlink_status(path_)); }
    // A socket whose program has ended.
    void leave_stale_socket() const { bound_unix_socket(path_); }
    void check_refused() const {
        const auto file = SocketFile::create(address());
        REQUIRE_FALSE(file);
        CHECK(file.error().kind() == ErrorKind::kUsage);
        CHECK(message_of(file).find(path_) != std::string::npos);
        CHECK(exists());
    }

  private:
    TemporaryFolder folder_;
    std::string path_ = folder_ / "qmp";
};

TEST_CASE("a socket file is the owner's alone, and is removed at the end") {
    const Place place;
    {
        const SocketFile file = must(SocketFile::create(place.address()));
        struct stat status {};
        REQUIRE(::stat(place.path().c_str(), &status) == 0);
        CHECK(S_ISSOCK(status.st_mode));
        CHECK((status.st_mode & 0777) == 0600);
        CHECK(file.path() == place.path());
        RawQmp::connect(place.address());
    }
    CHECK_FALSE(place.exists());
}

TEST_CASE("a stale socket is replaced") {
    const Place place;
    place.leave_stale_socket();
    REQUIRE(place.exists());
    const SocketFile file = must(SocketFile::create(place.address()));
    RawQmp::connect(place.address());
}

TEST_CASE("a socket that answers is left alone") {
    const Place place;
    const SocketFile first = must(SocketFile::create(place.address()));
    place.check_refused();
    RawQmp::connect(place.address());
}

TEST_CASE("a socket whose queue of newcomers is full counts as one that answers") {
    const Place place;
    const SocketFile first = must(SocketFile::create(place.address()));
    const std::vector<UniqueFd> waiting = fill_unix_queue(place.path());
    place.check_refused();
}

TEST_CASE("files, folders and links are never replaced") {
    const Place place;
    SECTION("file") { write_file(place.path(), "precious"); }
    SECTION("folder") { fs::create_directory(place.path()); }
    SECTION("link") { fs::create_symlink("nowhere", place.path()); }
    place.check_refused();
}

TEST_CASE("a folder that does not exist is the user's mistake") {
    const TemporaryFolder folder;
    const auto file = SocketFile::create("unix:" + folder / "none/qmp");
    REQUIRE_FALSE(file);
    CHECK(file.error().kind() == ErrorKind::kUsage);
}

TEST_CASE("a file that has taken the socket's place is not removed") {
    const Place place;
    std::optional<SocketFile> file = must(SocketFile::create(place.address()));
    fs::remove(place.path());
    SECTION("file") { write_file(place.path(), "precious"); }
    SECTION("socket") { place.leave_stale_socket(); }
    file.reset();
    CHECK(place.exists());
}

TEST_CASE("a socket file that was removed by others is no trouble") {
    const Place place;
    const SocketFile file = must(SocketFile::create(place.address()));
    fs::remove(place.path());
}

TEST_CASE("a socket file that was moved from removes nothing") {
    const Place place;
    std::optional<SocketFile> first = must(SocketFile::create(place.address()));
    const SocketFile second = *std::move(first);
    first.reset();
    CHECK(place.exists());
}

}  // namespace
}  // namespace migrate::qmp
