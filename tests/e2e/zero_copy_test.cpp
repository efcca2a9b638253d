// SPDX-License-Identifier: Apache-2.0
// Zero-copy send between two processes on loopback, where the kernel copies in any case.
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "e2e/live_run.hpp"
#include "e2e/test_image.hpp"
#include "qmp/client.hpp"

namespace migrate::e2e {
namespace {

const nlohmann::json& zero_copy_of(const nlohmann::json& report) { return report.at("zero-copy"); }

TEST_CASE("auto leaves zero-copy send off on loopback, and says so", "[zero-copy]") {
    const TemporaryFolder folder;
    const TransferStats stats = run_transfer(folder, {.source = "anon:16M,fill=random"});
    CHECK(zero_copy_of(stats.sender)["used"] == false);
    CHECK(zero_copy_of(stats.sender)["sends"] == 0);
    CHECK(zero_copy_of(stats.sender)["reason"] ==
          "the receiver is on this host, where the kernel copies anyway");
    CHECK(stats.ram("dirty-sync-missed-zero-copy") == 0);
    CHECK_FALSE(stats.receiver.contains("zero-copy"));
}

TEST_CASE("with zero-copy-send=on every channel finds that loopback copies, and the image is right",
          "[zero-copy]") {
    const TemporaryFolder folder(scratch_parent());
    const std::string copy = folder / "copy.mem";
    const std::string& image = full_image();
    for (const char* mode : {"multifd", "legacy", "none"}) {
        INFO(mode);
        std::filesystem::remove(copy);
        const TransferStats stats = run_transfer(
            folder, {.source = "file:" + image,
                     .sink = "file:" + copy,
                     .send_options = {"--zero-copy-send", "on", "--verify", "digest",
                                      "--multifd-channels", "4", "--zero-page-detection", mode}});
        CHECK(same_content(image, copy));
        const nlohmann::json& zero_copy = zero_copy_of(stats.sender);
        CHECK(zero_copy["used"] == true);
        CHECK(zero_copy["sends"] >= 1);
        CHECK(zero_copy["completed"] == zero_copy["sends"]);
        CHECK(zero_copy["copied"] == zero_copy["sends"]);
        CHECK(zero_copy["refused"] == 0);
        CHECK(stats.ram("dirty-sync-missed-zero-copy") >= 1);
        CHECK(stats.ram("dirty-sync-missed-zero-copy") <= 4);
    }
}

TEST_CASE("a running guest arrives by zero-copy send with every write, in every mode", "[live]") {
    const TemporaryFolder folder;
    const std::vector<std::vector<std::string>> variants{
        {"--multifd-compression", "none"},
        {"--multifd-compression", "zstd"},
        {"--multifd-compression", "lz4", "--multifd-packet-size", "64K"},
        {"--zero-page-detection", "legacy"},
        {"--dirty-tracker", "hash"},
    };
    for (std::vector<std::string> options : variants) {
        INFO(options[0] << " " << options[1]);
        options.insert(options.end(), {"--zero-copy-send", "on"});
        LiveRun run(folder, "workload:48M,rate=100,threads=2", options);
        check_arrived(run);
        const nlohmann::json sent = run.sent();
        const auto missed = sent["ram"]["dirty-sync-missed-zero-copy"].get<std::uint64_t>();
        const auto rounds = sent["ram"]["dirty-sync-count"].get<std::uint64_t>();
        const auto channels = sent["multifd"]["channels"].get<std::uint64_t>();
        CHECK(missed <= rounds * channels);
        if (options[1] == "hash") {
            CHECK(zero_copy_of(sent)["used"] == false);
            CHECK(missed == 0);
            CHECK(run.sender.err().find("zero-copy-send=on has no effect: dirty-tracker=hash") !=
                  std::string::npos);
        } else if (options[1] == "none") {
            CHECK(missed >= 1);
        }
    }
}

TEST_CASE("query-migrate has dirty-sync-missed-zero-copy and the figures of zero-copy send",
          "[live]") {
    const TemporaryFolder folder;
    const std::string path = folder / "qmp";
    LiveRun run(
        folder, "workload:32M,rate=10",
        {"--qmp", "unix:" + path, "--pause-before-switchover", "on", "--zero-copy-send", "on"});
    REQUIRE(run.sender.await_text("connected to"));
    auto client = qmp::Client::connect("unix:" + path, std::chrono::seconds(20), {});
    REQUIRE(client);
    const auto execute = [&](const char* command, const qmp::Json& arguments) {
        return (*client)->execute(command, arguments, std::chrono::seconds(20), {});
    };
    while (true) {
        const auto event = (*client)->wait_event("MIGRATION", std::chrono::seconds(20), {});
        REQUIRE(event);
        if ((*event)["data"]["status"] == "pre-switchover") break;
    }
    const qmp::Json seen = *execute("query-migrate", qmp::Json::object());
    CHECK(seen["ram"]["dirty-sync-missed-zero-copy"] >= 1);
    CHECK(seen["zero-copy"]["used"] == true);
    CHECK((*execute("query-migrate-parameters", qmp::Json::object()))["zero-copy-send"] == "on");
    REQUIRE(execute("migrate-continue", {{"state", "pre-switchover"}}));
    check_arrived(run);
}

TEST_CASE("a sender that may lock no memory copies, and says which limit to raise", "[zero-copy]") {
    const TemporaryFolder folder;
    std::vector<std::string> without{"/usr/bin/prlimit", "--memlock=0"};
    // Root may lock memory beyond the limit.
    if (::geteuid() == 0) {
        without.insert(without.end(), {"/usr/bin/setpriv", "--bounding-set", "-ipc_lock",
                                       "--inh-caps", "-ipc_lock"});
    }
    const TransferStats stats =
        run_transfer(folder, {.source = "anon:16M,fill=random",
                              .sink = "anon:",
                              .send_options = {"--zero-copy-send", "on", "--verify", "digest"},
                              .send_under = without});
    const nlohmann::json& zero_copy = zero_copy_of(stats.sender);
    CHECK(zero_copy["used"] == true);
    CHECK(zero_copy["sends"] == 0);
    CHECK(zero_copy["refused"] >= 1);
    CHECK_THAT(zero_copy["reason"].get<std::string>(), Catch::Matchers::Contains("RLIMIT_MEMLOCK"));
    CHECK(stats.ram("dirty-sync-missed-zero-copy") >= 1);
}

}  // namespace
}  // namespace migrate::e2e
