// SPDX-License-Identifier: Apache-2.0
// Devices between two processes, and journeys there and back.
#include <csignal>
#include <random>

#include "catch.hpp"
#include "e2e/live_run.hpp"
#include "e2e/test_tls.hpp"
#include "engine/recv/recv_session.hpp"
#include "engine/send/send_session.hpp"
#include "guest/guest.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/must.hpp"
#include "tests/support/negotiated.hpp"
#include "tests/support/seed.hpp"
#include "transport/listener.hpp"

namespace migrate::e2e {
namespace {

using std::chrono::milliseconds;

TEST_CASE("streams and simulated devices arrive with their guest, whichever way they go",
          "[devices]") {
    const TemporaryFolder folder;
    const std::string state(3'000'000, 's');
    write_file(folder / "net.state", state + "end");
    for (const char* mode : {"on", "off"}) {
        INFO(mode);
        LiveRun run(folder, "workload:32M,rate=20,warm-up=0",
                    {"--multifd-device-state", mode, "--verify", "digest", "--devices",
                     "file:net=" + (folder / "net.state") + " sim:vf,count=2,size=5M"},
                    {"--sink", "anon:", "--devices", "file:net=" + (folder / "net.copy")});
        check_arrived(run);
        CHECK(read_file(folder / "net.copy") == state + "end");
        const nlohmann::json sent = run.sent();
        const nlohmann::json received = run.received();
        REQUIRE(sent["devices"].size() == received["devices"].size());
        for (std::size_t i = 0; i < sent["devices"].size(); ++i) {
            CHECK(sent["devices"][i]["complete"] == true);
            CHECK(received["devices"][i]["complete"] == true);
            CHECK(sent["devices"][i]["bytes"] == received["devices"][i]["bytes"]);
        }
        CHECK(sent["settings"]["multifd-device-state"] == mode);
    }
}

TEST_CASE("a device that fails on either side leaves the guest at its source", "[devices]") {
    const TemporaryFolder folder;
    for (const char* fault : {"fail-save=3M", "fail-load=3M"}) {
        LiveRun run(folder, "workload:32M,rate=20,warm-up=0",
                    {"--devices", std::string("sim:good,size=8M sim:bad,size=8M,") + fault});
        CHECK(judge_guest(run.sender, run.receiver.process()) == GuestPlace::kSender);
        CHECK(run.sender.both().find("device bad") != std::string::npos);
        CHECK(run.receiver->both().find("device bad") != std::string::npos);
    }
}

TEST_CASE("killing either side while devices move leaves no second guest", "[devices]") {
    const TemporaryFolder folder;
    const unsigned seed = test_seed();
    std::mt19937 random(seed);
    for (int turn = 0; turn < fault_turns(); ++turn) {
        const bool kills_sender = turn % 2 == 0;
        const milliseconds when(std::uniform_int_distribution<int>(0, 500)(random));
        INFO("seed " << seed << ", turn " << turn << ", after " << when.count() << " ms");
        LiveRun run(folder, "workload:16M,rate=20,warm-up=0",
                    {"--downtime-limit", "10s", "--reconnect-timeout", "0", "--devices",
                     "sim:vf,count=3,size=10M,save-rate=50M,load-rate=50M"});
        if (kills_sender) {
            kill_sender(run, when);
        } else {
            kill_receiver(run, when);
        }
    }
}

TEST_CASE("a guest goes there and back, its devices with it, and is whole at home", "[devices]") {
    const TemporaryFolder folder;
    LiveRun run(folder, "workload:16M,rate=20,warm-up=0",
                {"--repeat", "3", "--devices", "sim:vf,count=2,size=2M", "--verify", "digest"},
                {"--sink", "anon:", "--repeat", "5"});
    INFO(run.sender.both() << run.receiver->both());
    REQUIRE(run.sender.wait() == 0);
    REQUIRE(run.receiver->wait() == 0);
    CHECK(guest_went_on(run.sender));
    CHECK_FALSE(guest_went_on(run.receiver.process()));
    const auto legs = nlohmann::json::parse(read_file(folder / "send.json"));
    const auto other = nlohmann::json::parse(read_file(folder / "recv.json"));
    REQUIRE(legs.size() == 6);
    REQUIRE(other.size() == 6);
    for (std::size_t i = 0; i < legs.size(); ++i) {
        CHECK(legs[i]["leg"] == i + 1);
        CHECK(legs[i]["side"] == (i % 2 == 0 ? "send" : "recv"));
        CHECK(other[i]["side"] == (i % 2 == 0 ? "recv" : "send"));
        CHECK(legs[i]["status"] == "completed");
        CHECK(legs[i]["devices"].size() == 3);
        check_accounting(i % 2 == 0 ? TransferStats{legs[i], other[i]}
                                    : TransferStats{other[i], legs[i]});
    }
    CHECK(legs.back()["guest"]["check"] == "passed");
}

TEST_CASE("a receiver whose guest went home does not wait for ever for it to come again",
          "[devices]") {
    Receiver receiver({"--sink", "anon:", "--repeat", "5", "--handshake-timeout", "1s"});
    engine::EventLog events;
    guest::Machine home = must(guest::open_machine("workload:4M,rate=10,warm-up=0"));
    auto listener = must(transport::Listener::create({"127.0.0.1", 0}, kLong, test_security()));
    engine::SendConfig there;
    there.security = test_security();
    there.paths.push_back({.route = {"127.0.0.1", receiver.port()}});
    set_negotiated(there.negotiated, "multifd-packet-size", "64K");
    there.connect_timeout = there.handshake_timeout = there.io_timeout = kLong;
    there.journey = {.leg = 1, .legs = 10, .return_port = listener->port()};
    must(must(engine::SendSession::create(there, *home.memory, events, home.guest.get()))->run());
    engine::RecvConfig back;
    back.sink = "anon:";
    back.handshake_timeout = back.io_timeout = kLong;
    back.expected_leg = 2;
    back.most_legs = 10;
    must(must(engine::RecvSession::create(back, events, std::move(listener)))->run());
    CHECK(receiver->wait() == 1);
    CHECK(receiver->err().find("no sender came within 1000 ms") != std::string::npos);
}

TEST_CASE("the receiver's options for device state hold for the way back, too", "[devices]") {
    const TemporaryFolder folder;
    for (const char* mode : {"on", "off"}) {
        INFO(mode);
        LiveRun run(folder, "workload:16M,rate=20,warm-up=0",
                    {"--repeat", "1", "--devices", "sim:vf,size=1M"},
                    {"--sink", "anon:", "--repeat", "1", "--multifd-device-state", mode});
        CHECK(run.sender.wait() == 0);
        CHECK(run.receiver->wait() == 0);
        const auto legs = nlohmann::json::parse(read_file(folder / "recv.json"));
        REQUIRE(legs.size() == 2);
        for (const nlohmann::json& leg : legs) {
            CHECK(leg["settings"]["multifd-device-state"] == mode);
        }
    }
}

TEST_CASE("the way back goes by the options that the way there was given", "[devices]") {
    const TemporaryFolder folder;
    LiveRun run(folder, "workload:16M,rate=20,warm-up=0",
                {"--repeat", "1", "--max-bandwidth", "900M"}, {"--sink", "anon:", "--repeat", "1"});
    CHECK(run.sender.wait() == 0);
    CHECK(run.receiver->wait() == 0);
    const auto back = nlohmann::json::parse(read_file(folder / "recv.json")).at(1);
    CHECK(back["side"] == "send");
    CHECK(back["settings"]["max-bandwidth"] == 900 * kMiB);
}

TEST_CASE("a journey that one side was not told of keeps the guest at home", "[devices]") {
    const TemporaryFolder folder;
    LiveRun run(folder, "workload:16M,rate=20,warm-up=0", {"--repeat", "3"});
    CHECK(run.sender.wait() == 3);
    CHECK(run.sender.err().find("--repeat") != std::string::npos);
    CHECK(guest_went_on(run.sender));
    run.receiver->signal(SIGINT);
    run.receiver->wait();
}

TEST_CASE("a journey ends at a signal, whenever it comes, and the guest stays on one side",
          "[devices]") {
    const TemporaryFolder folder;
    const unsigned seed = test_seed();
    std::mt19937 random(seed);
    for (int turn = 0; turn < fault_turns(); ++turn) {
        const bool at_home = turn % 2 == 0;
        const milliseconds when(std::uniform_int_distribution<int>(0, 50)(random));
        INFO("seed " << seed << ", turn " << turn << ", after " << when.count() << " ms");
        LiveRun run(folder, "workload:16M,rate=20,warm-up=0",
                    {"--repeat", "1000", "--handshake-timeout", "2s"},
                    {"--sink", "anon:", "--repeat", "1000", "--handshake-timeout", "2s"});
        REQUIRE(run.sender.await_text("leg 3,"));
        run.sender.ended_within(when);
        (at_home ? run.sender : run.receiver.process()).signal(SIGINT);
        const int sent = run.sender.wait();
        const int received = run.receiver->wait();
        CHECK((at_home ? sent : received) == 4);
        // Between two legs there is nobody to tell.
        const int other = at_home ? received : sent;
        CHECK((other == 4 || other == 1));
        INFO(run.sender.both() << run.receiver->both());
        CHECK(guest_went_on(run.sender) != guest_went_on(run.receiver.process()));
    }
}

}  // namespace
}  // namespace migrate::e2e
