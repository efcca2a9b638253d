// SPDX-License-Identifier: Apache-2.0
// Migrations over a network that changes what it carries.
#include <filesystem>
#include <random>

#include "catch.hpp"
#include "e2e/damaging_relay.hpp"
#include "e2e/live_run.hpp"
#include "e2e/test_image.hpp"
#include "e2e/transfer.hpp"
#include "tests/support/seed.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;

constexpr std::size_t kDamagedChannels = 2;

std::vector<std::string> options_with(const std::vector<std::string>& more,
                                      std::size_t channels = kDamagedChannels) {
    std::vector<std::string> options{"--multifd-channels",    std::to_string(channels),
                                     "--multifd-packet-size", "64K",
                                     "--io-timeout",          "3s"};
    options.insert(options.end(), more.begin(), more.end());
    return options;
}

TEST_CASE("a bit that changes in a packet's content ends both sides, which name it", "[damage]") {
    const TemporaryFolder folder(scratch_parent());
    make_image(folder / "image", 8, 1);
    Receiver receiver({"--sink", "file:" + (folder / "copy"), "--io-timeout", "3s"});
    const DamagingRelay relay(receiver.port(), {.connection = 1, .at = 20'000, .size = 3});
    Process sender(
        send_arguments(relay.endpoint(), "file:" + (folder / "image"), options_with({}, 1)));
    CHECK(sender.wait() == 1);
    CHECK(receiver->wait() == 1);
    CHECK(relay.has_damaged());
    for (const std::string& words : {sender.err(), receiver->err()}) {
        CHECK_THAT(words, Contains("damaged"));
    }
    CHECK_FALSE(std::filesystem::exists(folder / "copy"));
}

TEST_CASE("with packet-checksum=off nothing is checked, and the report says so", "[damage]") {
    const TemporaryFolder folder(scratch_parent());
    make_image(folder / "image", 4, 1);
    for (const char* option : {"auto", "on", "off"}) {
        const TransferStats stats =
            run_transfer(folder, {"file:" + (folder / "image"), "file:" + (folder / "copy"),
                                  options_with({"--packet-checksum", option})});
        const bool used = std::string_view(option) != "off";
        for (const json& side : {stats.sender, stats.receiver}) {
            const json& checksums = side.at("packet-checksum");
            INFO(option << ": " << checksums.dump());
            if (used && checksums.at("used") == false) {
                CHECK(checksums.at("reason") == "TLS protects every byte");
                continue;
            }
            CHECK(checksums.at("used") == used);
            CHECK((checksums.at("packets") > 0) == used);
            CHECK((checksums.at("without") > 0) != used);
        }
    }
}

TEST_CASE("a running guest is checked, too, and stays where it is after damage", "[damage]") {
    const TemporaryFolder folder;
    Receiver receiver({"--sink", "anon:", "--run-for", "50ms", "--io-timeout", "3s"});
    const DamagingRelay relay(receiver.port(), {.connection = 1, .at = 3'000'000, .size = 5});
    Process sender(send_arguments(relay.endpoint(), "workload:16M,rate=40,warm-up=0",
                                  options_with({"--run-for", "50ms"})));
    CHECK(sender.wait() == 1);
    CHECK(receiver->wait() == 1);
    CHECK(relay.has_damaged());
    CHECK(guest_went_on(sender));
    CHECK_FALSE(guest_went_on(receiver.process()));
    CHECK_THAT(sender.err(), Contains("damaged"));
}

TEST_CASE("random damage anywhere is never accepted, and no side hangs", "[damage]") {
    const TemporaryFolder folder(scratch_parent());
    make_image(folder / "image", 2, 3);
    const unsigned seed = test_seed();
    std::mt19937 random(seed);
    const auto draw = [&](std::uint64_t below) {
        return std::uniform_int_distribution<std::uint64_t>(0, below - 1)(random);
    };
    int damaged = 0;
    int completed = 0;
    for (int turn = 0; turn < fault_turns(); ++turn) {
        Damage damage{.connection = draw(kDamagedChannels + 1),
                      .to_receiver = true,
                      .at = draw(250'000),
                      .by = static_cast<DamageBy>(draw(5)),
                      .size = 2 + static_cast<unsigned>(draw(200))};
        if (damage.connection == 0) {
            damage.to_receiver = draw(2) == 0;
            damage.at = draw(damage.to_receiver ? 900 : 500);
        }
        INFO("turn " << turn << ": " << describe(damage));
        std::filesystem::remove(folder / "copy");
        Receiver receiver({"--sink", "file:" + (folder / "copy"), "--io-timeout", "2s",
                           "--handshake-timeout", "6s", "--listen-timeout", "8s"});
        const DamagingRelay relay(receiver.port(), damage);
        // Under TLS, damage ends a connection, and a sender may look for a receiver that has
        // failed.
        Process sender(send_arguments(
            relay.endpoint(), "file:" + (folder / "image"),
            options_with({"--handshake-timeout", "6s", "--reconnect-timeout", "6s"})));
        const int sent = sender.wait();
        const int received = receiver->wait();
        INFO("sender, " << sent << ":\n"
                        << sender.both() << "receiver, " << received << ":\n"
                        << receiver->both());
        damaged += relay.has_damaged() ? 1 : 0;
        completed += received == 0 ? 1 : 0;
        if (!relay.has_damaged()) CHECK(sent == 0);
        if (sent == 0) CHECK(received == 0);
        // Damage may hit only what does not matter: a statistic, or the end of the connection.
        CHECK(std::filesystem::exists(folder / "copy") == (received == 0));
        if (received == 0) CHECK(same_content(folder / "image", folder / "copy"));
        if (sent != 0) CHECK_FALSE(sender.err().empty());
        if (received != 0) CHECK_FALSE(receiver->err().empty());
    }
    WARN("seed " << seed << ": of " << fault_turns() << " migrations " << damaged
                 << " were damaged, " << completed << " completed");
}

}  // namespace
}  // namespace migrate::e2e
