// SPDX-License-Identifier: Apache-2.0
// Image transfers whose sender or receiver is killed, and that go on afterwards.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "catch.hpp"
#include "e2e/test_image.hpp"
#include "e2e/transfer.hpp"
#include "tests/support/seed.hpp"

namespace migrate::e2e {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kImageMiB = 48;
// About a second for the image, of which a third has content.
constexpr const char* kRate = "16M/s";

// The transfers that are killed. MIGRATE_TEST_KILLS sets another number.
int kills() {
    const char* set = std::getenv("MIGRATE_TEST_KILLS");
    return set != nullptr ? std::atoi(set) : 4;
}

struct Killed {
    bool ended_before = false;
    std::uint64_t received = 0;  // bytes of the image that arrived, at most
};

// Kills a side after that time. Returns the bytes that its peer counted.
Killed kill_one(const TemporaryFolder& folder, const std::string& image, const std::string& copy,
                bool kills_sender, milliseconds when) {
    const std::string stats = folder / "killed.json";
    std::filesystem::remove(stats);
    std::vector<std::string> receives{"--sink", "file:" + copy, "--resume"};
    if (kills_sender) receives.insert(receives.end(), {"--stats", stats});
    Receiver receiver(receives);
    std::vector<std::string> sends{"--max-bandwidth", kRate, "--reconnect-timeout", "0"};
    if (!kills_sender) sends.insert(sends.end(), {"--stats", stats});
    Process sender(send_arguments(receiver, "file:" + image, sends));
    Process& killed = kills_sender ? sender : receiver.process();
    Process& other = kills_sender ? receiver.process() : sender;
    REQUIRE(sender.await_text("connected to"));
    if (killed.ended_within(when)) {
        INFO(sender.both() << receiver->both());
        CHECK(sender.wait() == 0);
        CHECK(receiver->wait() == 0);
        return {.ended_before = true};
    }
    killed.signal(SIGKILL);
    CHECK(killed.wait() == 128 + SIGKILL);
    const int code = other.wait();
    const auto transferred = read_stats(stats).at("ram").at("transferred").get<std::uint64_t>();
    // The receiver may have committed in the moment in which its sender was killed.
    return {code == 0, transferred};
}

TEST_CASE("a transfer whose sender or receiver is killed at any moment goes on", "[transfer]") {
    const TemporaryFolder folder(scratch_parent());
    const unsigned seed = test_seed();
    std::mt19937 random(seed);
    const std::string image = folder / "image.mem";
    const ImagePages pages = make_image(image, kImageMiB, seed);
    const double whole = static_cast<double>(pages.content * kPageSize);
    double sum = 0;
    int resumed = 0;
    for (int turn = 0; turn < kills(); ++turn) {
        const std::string copy = folder / "copy.mem";
        std::filesystem::remove(copy);
        const bool kills_sender = turn % 2 == 0;
        const milliseconds when(std::uniform_int_distribution<int>(0, 900)(random));
        INFO("seed " << seed << ", turn " << turn << ", after " << when.count() << " ms, kills the "
                     << (kills_sender ? "sender" : "receiver"));
        const Killed killed = kill_one(folder, image, copy, kills_sender, when);
        if (killed.ended_before) {
            CHECK(same_content(image, copy));
            continue;
        }
        const TransferStats stats = run_transfer(folder, {.source = "file:" + image,
                                                          .sink = "file:" + copy,
                                                          .send_options = {"--verify", "digest"},
                                                          .recv_options = {"--resume"}});
        CHECK(same_content(image, copy));
        CHECK_FALSE(std::filesystem::exists(copy + ".partial"));
        CHECK_FALSE(std::filesystem::exists(copy + ".partial.journal"));
        const auto sent = static_cast<double>(killed.received + stats.ram("transferred"));
        sum += sent / whole;
        ++resumed;
        CAPTURE(killed.received, stats.ram("transferred"), whole);
        // Before it is killed, a side has at most a few checkpoints' time of pages under way.
        CHECK(sent / whole < 1.5);
    }
    WARN("seed " << seed << ": " << resumed << " transfers were killed and went on; on average "
                 << (resumed == 0 ? 0 : sum / resumed) << " of the image was sent in total");
    if (resumed >= 20) CHECK(sum / resumed <= 1.1);
}

TEST_CASE("a guest that comes back to a bundle is sent without what it had there", "[live]") {
    const TemporaryFolder folder(scratch_parent());
    const auto park = [&](const std::string& source, const std::string& bundle,
                          const std::vector<std::string>& options) {
        return run_transfer(
            folder, {.source = source,
                     .sink = "bundle:" + folder / bundle,
                     .send_options = {"--verify", "digest", "--downtime-limit", kAnyDowntime},
                     .recv_options = options});
    };
    const TransferStats first = park("workload:32M,rate=5,warm-up=0,fill=all", "there", {});
    const TransferStats again =
        park("bundle:" + folder / "there", "back", {"--reuse", folder / "there"});
    CHECK(again.ram("reused") > 0);
    CHECK(again.ram("normal") == 0);
    CHECK(again.ram("transferred") * 10 < first.ram("transferred"));
}

TEST_CASE("options that cannot be used together are refused by name", "[refusal]") {
    const auto refused = [](const std::vector<std::string>& options, const std::string& reason) {
        std::vector<std::string> arguments{"recv", "--listen", "127.0.0.1:0"};
        arguments.insert(arguments.end(), options.begin(), options.end());
        Process receiver(arguments);
        CHECK(receiver.wait() == 2);
        CHECK_THAT(receiver.err(), Catch::Contains(reason));
    };
    refused({"--sink", "anon:", "--resume"}, "option resume");
    refused({"--sink", "null:", "--reuse", "/etc/hostname"}, "keeps nothing");
    refused({"--sink", "anon:", "--reuse", "/nonexistent"}, "option reuse");
}

}  // namespace
}  // namespace migrate::e2e
