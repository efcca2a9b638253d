// SPDX-License-Identifier: Apache-2.0
// Every file a user may start from must load.
#include <filesystem>
#include <vector>

#include "cli/config_file.hpp"
#include "cli_test_support.hpp"

using namespace migrate;
using namespace migrate::cli;
using namespace migrate::cli::test;

namespace {

std::vector<std::filesystem::path> shipped_files() {
    std::vector<std::filesystem::path> paths;
    const std::filesystem::path folder = std::filesystem::path(MIGRATE_SOURCE_DIR) / "configs";
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() == ".json") paths.push_back(entry.path());
    }
    return paths;
}

}  // namespace

TEST_CASE("every shipped configuration starts a sender and a receiver that fit together") {
    const auto paths = shipped_files();
    CHECK(paths.size() >= 3);
    for (const auto& path : paths) {
        INFO(path);
        const auto send = parse({"send", "--config", path.c_str()});
        INFO((send ? std::string() : send.error().message()));
        REQUIRE(send);
        const auto recv = parse({"recv", "--config", path.c_str()});
        INFO((recv ? std::string() : recv.error().message()));
        REQUIRE(recv);
        const std::string& connect = send->settings.get<"connect">();
        const std::string& listen = recv->settings.get<"listen">();
        CHECK(connect.substr(connect.rfind(':')) == listen.substr(listen.rfind(':')));
    }
}

TEST_CASE("a flag changes a shipped configuration") {
    const std::string path = std::string(MIGRATE_SOURCE_DIR) + "/configs/loopback.json";
    const auto send = parse({"send", "--config", path.c_str(), "--multifd-channels", "4"});
    REQUIRE(send);
    CHECK(send->settings.get<"multifd-channels">() == 4);
    CHECK(send->settings.get<"connect">() == "127.0.0.1:4444");
}
