// SPDX-License-Identifier: Apache-2.0
// `migrate status`: the migrations that run on this host.
#include <sys/file.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "e2e/transfer.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;

// Processes that a unit of systemd with this run-time folder would start.
Surroundings within(const TemporaryFolder& folder) {
    Surroundings surroundings;
    surroundings.environment = {"RUNTIME_DIRECTORY=" + folder.path()};
    return surroundings;
}

json listed(const TemporaryFolder& folder) {
    Process status({"status", "--json"}, within(folder));
    REQUIRE(status.wait() == 0);
    return json::parse(status.out());
}

std::string lines(const TemporaryFolder& folder) {
    Process status({"status"}, within(folder));
    REQUIRE(status.wait() == 0);
    return status.out();
}

TEST_CASE("the status lists both sides of a migration while they run", "[status]") {
    const TemporaryFolder folder;
    CHECK(listed(folder) == json::array());
    CHECK(lines(folder) == "no migration runs here\n");
    Receiver receiver({"--sink", "null:", "--guest-name", "web1"}, within(folder));
    json waiting = listed(folder);
    REQUIRE(waiting.size() == 1);
    CHECK(waiting[0].at("pid") == receiver->pid());
    CHECK(waiting[0].at("side") == "recv");
    CHECK(waiting[0].at("guest-name") == "web1");
    CHECK(waiting[0].at("memory") == "null:");
    CHECK_THAT(lines(folder), Contains("recv  web1  waiting  null:  on 127.0.0.1:"));

    Process sender(send_arguments(receiver, "anon:32M,fill=random",
                                  {"--guest-name", "web1", "--max-bandwidth", "8M/s"}),
                   within(folder));
    json running;
    CHECK(sender.await([&] {
        running = listed(folder);
        return running.size() == 2 && running[0].at("status") == "active" &&
               running[1].at("status") == "active" && running[0].at("transferred") > 0;
    }));
    for (const json& one : running) {
        CHECK(one.at("total") == 32 << 20);
        CHECK(one.at("remaining") < 32 << 20);
        CHECK(one.at("peer").get<std::string>().starts_with("127.0.0.1:"));
    }
    const std::string text = lines(folder);
    CHECK_THAT(text, Contains("send  web1  active, ") && Contains(" MiB/s") &&
                         Contains("anon:32M,fill=random  to 127.0.0.1:"));
    CHECK(std::count(text.begin(), text.end(), '\n') == 2);
    for (const std::string& name : folder.names()) {
        CHECK((std::filesystem::status(folder / name).permissions() &
               std::filesystem::perms::others_all) == std::filesystem::perms::none);
    }
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
    CHECK(listed(folder) == json::array());
    CHECK(folder.names().empty());
}

TEST_CASE("files of dead processes, and files that are none, are not listed", "[status]") {
    const TemporaryFolder folder;
    {
        Receiver receiver({"--sink", "null:"}, within(folder));
        receiver->signal(SIGKILL);
        CHECK(receiver->wait() == 128 + SIGKILL);
    }
    CHECK(folder.names().size() == 1);
    SECTION("the status removes them") {
        CHECK(listed(folder) == json::array());
        CHECK(folder.names().empty());
    }
    SECTION("the next migration removes them") {
        Receiver receiver({"--sink", "null:"}, within(folder));
        CHECK(folder.names().size() == 1);
        CHECK(listed(folder).size() == 1);
    }
    SECTION("what others put there is no migration") {
        const std::string other = folder / "other";
        write_file(other, "{\"pid\":1,");
        const UniqueFd locked(::open(other.c_str(), O_RDONLY | O_CLOEXEC));
        REQUIRE(::flock(locked.get(), LOCK_EX) == 0);
        std::filesystem::create_symlink(other, folder / "link");
        REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
        CHECK(listed(folder) == json::array());
    }
}

TEST_CASE("a folder that others may write to takes no entry, and the migration runs", "[status]") {
    const TemporaryFolder folder;
    std::filesystem::permissions(folder.path(), std::filesystem::perms::all);
    Receiver receiver({"--sink", "null:"}, within(folder));
    Process sender(send_arguments(receiver, "anon:1M"));
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
    CHECK(folder.names().empty());
    CHECK_THAT(receiver->err(), !Contains("status"));
}

}  // namespace
}  // namespace migrate::e2e
