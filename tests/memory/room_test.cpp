// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/room.hpp"

#include <fcntl.h>

#include <filesystem>
#include <fstream>

#include "base/fd.hpp"
#include "base/units.hpp"
#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::memory {
namespace {

using Catch::Matchers::Contains;

// The files of cgroups, in a folder of their own.
class Groups {
  public:
    void set(const std::string& group, const std::string& limit, const std::string& used) {
        const std::filesystem::path folder = std::filesystem::path(root()) / group;
        std::filesystem::create_directories(folder);
        write(folder / "memory.max", limit);
        write(folder / "memory.current", used);
    }
    std::optional<Room> room(const std::string& own) {
        write(folder_ / "cgroup", own);
        return room_of_cgroup(folder_ / "cgroup", root());
    }

  private:
    static void write(const std::filesystem::path& path, const std::string& text) {
        std::ofstream(path) << text << '\n';
    }
    std::string root() const { return folder_ / "root"; }

    TemporaryFolder folder_;
};

TEST_CASE("the tightest cgroup of the process and those above it limits the memory") {
    Groups groups;
    groups.set("machine", "1000000", "400000");
    groups.set("machine/guest", "max", "300000");
    groups.set("machine/guest/inner", "900000", "100000");
    groups.set("other", "10", "9");
    const auto room = groups.room("1:name=systemd:/x\n0::/machine/guest/inner");
    REQUIRE(room);
    CHECK(room->bytes == 600000);
    CHECK_THAT(room->where, Contains("/machine") && !Contains("guest"));
    CHECK_THAT(room->remedy, Contains("memory.max"));
}

TEST_CASE("a cgroup that uses more than its limit has no room") {
    Groups groups;
    groups.set("guest", "1000", "2000");
    CHECK(groups.room("0::/guest")->bytes == 0);
}

TEST_CASE("without a limit, or without cgroups of version 2, the cgroup has no say") {
    Groups groups;
    groups.set("guest", "max", "2000");
    CHECK_FALSE(groups.room("0::/guest"));
    CHECK_FALSE(groups.room("0::/missing"));
    CHECK_FALSE(groups.room("0::/"));
    CHECK_FALSE(groups.room("4:memory:/guest"));
    CHECK_FALSE(room_of_cgroup("/missing", "/missing"));
}

TEST_CASE("the host's room is what is available and what can be swapped out") {
    const TemporaryFolder folder;
    std::ofstream(folder / "meminfo")
        << "MemTotal:  100 kB\nMemAvailable:  30 kB\nSwapFree: 12 kB\n";
    CHECK(room_of_host(folder / "meminfo")->bytes == 42 * kKiB);
    CHECK_FALSE(room_of_host(folder / "missing"));
    CHECK(room_of_host()->bytes > 0);
}

TEST_CASE("a file's room counts what it has already") {
    const TemporaryFolder folder;
    const UniqueFd empty(::open((folder / "empty").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    const auto room = room_of_file(empty.get(), "the image");
    REQUIRE(room);
    CHECK(room->bytes > 0);
    CHECK(room->where == "the file system of the image");
    CHECK_FALSE(room_of_file(-1, "nothing"));
}

TEST_CASE("a guest is warned of where it may not fit, and of nothing else") {
    const std::vector<Room> rooms{{4 * kGiB, "large", "a"}, {kGiB, "small", "free space there"}};
    CHECK(room_warnings(kGiB, rooms).empty());
    const auto warnings = room_warnings(2 * kGiB, rooms);
    REQUIRE(warnings.size() == 1);
    CHECK_THAT(warnings.front(), Contains("the guest has 2.00 GiB") &&
                                     Contains("small has room for 1.00 GiB only") &&
                                     Contains("free space there"));
}

}  // namespace
}  // namespace migrate::memory
