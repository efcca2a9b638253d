// SPDX-License-Identifier: Apache-2.0
// Limits that a migration cannot keep, or can: what it does, how often, how soon it ends, and what
// it says.
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>

#include "catch.hpp"
#include "e2e/live_run.hpp"
#include "e2e/slow_network.hpp"
#include "e2e/tcp_proxy.hpp"
#include "qmp/client.hpp"

namespace migrate::e2e {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;
using transport::FrameType;

// Maximum delay after its deadline for a sender on a busy machine; shorter than the io-timeout of
// 30 s, which would also end it.
constexpr milliseconds kSlack{12'000};

std::string text_of_file(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

std::size_t count_of(const std::string& text, std::string_view part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++count;
    }
    return count;
}

std::unique_ptr<qmp::Client> must_connect(const std::string& path) {
    auto client = qmp::Client::connect("unix:" + path, milliseconds(20'000), {});
    REQUIRE(client);
    return std::move(*client);
}

bool said(const Process& side, std::string_view words) {
    UNSCOPED_INFO(side.both());
    return side.err().find(words) != std::string::npos;
}

// The number in "the smallest that would work now is N ms" of the last such words.
std::string smallest_limit(const Process& sender) {
    constexpr std::string_view kWords = "the smallest that would work now is ";
    const std::size_t at = sender.err().rfind(kWords);
    REQUIRE(at != std::string::npos);
    const std::size_t number = at + kWords.size();
    return sender.err().substr(number, sender.err().find(' ', number) - number) + "ms";
}

// The sender ends by itself soon after `limit`, and the guest stays.
void check_stays(Process& sender, Receiver& receiver, milliseconds limit) {
    const Clock::time_point began = Clock::now();
    sender.wait();
    CHECK(Clock::now() - began < limit + kSlack);
    receiver->signal(SIGINT);
    receiver->wait();
    INFO(sender.both() << receiver->both());
    CHECK(guest_went_on(sender));
    CHECK_FALSE(guest_went_on(receiver.process()));
}

// A run whose main channel holds the first frame of a type, and all that would follow it.
struct HeldRun {
    HeldRun(FrameType type, const std::vector<std::string>& options, const std::string& folder)
        : receiver({"--sink", "anon:", "--run-for", "50ms"}),
          network(receiver.port(),
                  {.connection = 0, .by = CutBy::kHold, .when = {.before_frame = type}}),
          sender(arguments(network, options, folder)) {}
    static std::vector<std::string> arguments(const TcpProxy& network,
                                              const std::vector<std::string>& options,
                                              const std::string& folder) {
        std::vector<std::string> all{"--run-for", "50ms", "--stats", folder + "/send.json"};
        all.insert(all.end(), options.begin(), options.end());
        return send_arguments(network.endpoint(), "workload:16M,rate=1", all);
    }

    Receiver receiver;
    TcpProxy network;
    Process sender;
};

TEST_CASE("a deadline that cancels ends every wait for the receiver", "[live][wire][part-1]") {
    const TemporaryFolder folder;
    for (const char* device_state : {"auto", "off"}) {
        HeldRun round(FrameType::kRoundDone,
                      {"--deadline", "1s", "--multifd-device-state", device_state}, folder / "");
        check_stays(round.sender, round.receiver, seconds(1));
        CHECK(said(round.sender,
                   "error: the deadline of 1000 ms has passed while the sender waited for "
                   "ROUND_DONE of round 1: no round has ended yet"));
        HeldRun loaded(
            FrameType::kLoaded,
            {"--deadline", "2s", "--multifd-device-state", device_state, "--downtime-limit", "10s"},
            folder / "");
        check_stays(loaded.sender, loaded.receiver, seconds(2));
        CHECK(said(loaded.sender,
                   "error: the deadline of 2000 ms has passed while the sender waited for LOADED"));
    }
}

TEST_CASE("a deadline that cancels ends the wait for migrate-continue", "[live]") {
    const TemporaryFolder folder;
    LiveRun run(folder, "workload:16M,rate=1",
                {"--pause-before-switchover", "on", "--qmp", "unix:" + (folder / "qmp"),
                 "--deadline", "2s", "--downtime-limit", "10s"});
    check_stays(run.sender, run.receiver, seconds(2));
    CHECK(said(run.sender,
               "error: the deadline of 2000 ms has passed while the migration waited "
               "for migrate-continue"));
    CHECK(run.sent()["guest"]["state"] == "running");
}

TEST_CASE("a deadline that is set while the migration waits ends that wait", "[live]") {
    const TemporaryFolder folder;
    const std::string path = folder / "qmp";
    LiveRun run(
        folder, "workload:16M,rate=1",
        {"--pause-before-switchover", "on", "--qmp", "unix:" + path, "--downtime-limit", "10s"});
    REQUIRE(run.sender.await_text("connected to"));
    const auto client = must_connect(path);
    bool waits = false;
    while (!waits) {
        const auto event = client->wait_event("MIGRATION", milliseconds(20'000), {});
        REQUIRE(event);
        waits = (*event)["data"]["status"] == "pre-switchover";
    }
    REQUIRE(client->execute("migrate-set-parameters", {{"deadline", 1}}, milliseconds(20'000), {}));
    check_stays(run.sender, run.receiver, milliseconds(0));
    CHECK(said(run.sender,
               "the deadline of 1 ms has passed while the migration waited for "
               "migrate-continue"));
}

TEST_CASE("stall-limit ends the wait for a receiver that says nothing", "[live][wire]") {
    const TemporaryFolder folder;
    for (const FrameType type : {FrameType::kRoundDone, FrameType::kLoaded}) {
        HeldRun run(type, {"--stall-limit", "2s", "--downtime-limit", "10s"}, folder / "");
        check_stays(run.sender, run.receiver, seconds(2));
        CHECK(said(run.sender, "error: the receiver is alive but has not sent " +
                                   std::string(name_of(type)) + " for 2000 ms (stall-limit)"));
    }
}

TEST_CASE("a limit that fixed costs exceed is no flood, and the limit that is named works",
          "[live][part-2]") {
    const TemporaryFolder folder;
    std::string limit;
    {
        LiveRun run(folder, "workload:64M,rate=1",
                    {"--downtime-limit", "1ms", "--deadline", "6s", "--events", folder / "events"});
        check_stays(run.sender, run.receiver, seconds(6));
        CHECK(run.sent()["rounds"].size() <= 40);
        CHECK(text_of_file(folder / "send.json").size() < 40'000);
        const std::string events = text_of_file(folder / "events");
        CHECK(events.size() < 20'000);
        const std::size_t stalls = count_of(events, "MIGRATION_STALLED");
        CHECK(stalls >= 1);
        CHECK(stalls <= 4);
        CHECK(count_of(run.sender.err(), "warning: the migration stalls") == stalls);
        CHECK(count_of(events, "\"smallest-downtime-limit\":") == stalls);
        CHECK(said(run.sender, "takes too long for downtime-limit"));
        CHECK_FALSE(said(run.sender, "auto-converge"));
        limit = smallest_limit(run.sender);
    }
    // The named limit fits the machine's present speed. If the machine has become slower since
    // then, the next run names a larger one.
    for (int attempt = 1;; ++attempt) {
        INFO("attempt " << attempt << " with " << limit);
        LiveRun run(folder, "workload:64M,rate=1", {"--downtime-limit", limit, "--deadline", "8s"});
        if (run.sender.wait() == 0 || attempt == 5) {
            check_arrived(run);
            break;
        }
        check_stays(run.sender, run.receiver, seconds(8));
        limit = smallest_limit(run.sender);
    }
}

TEST_CASE("a digest that exceeds the limit is no flood, and one that fits in the end goes on",
          "[live][part-2]") {
    const TemporaryFolder folder;
    LiveRun run(folder, "workload:128M,rate=1",
                {"--verify", "digest", "--downtime-limit", "5ms", "--deadline", "6s"});
    check_stays(run.sender, run.receiver, seconds(6));
    CHECK(run.sent()["rounds"].size() <= 40);
    CHECK(said(run.sender,
               "the digest of all memory (verify=digest) takes too long for "
               "downtime-limit"));
    CHECK(count_of(run.sender.err(), "warning: the migration stalls") <= 4);
}

TEST_CASE("an almost idle guest arrives with the defaults at a round trip of 100 ms", "[live]") {
    const TemporaryFolder folder;
    Receiver receiver({"--sink", "anon:", "--run-for", "50ms", "--stats", folder / "recv.json"});
    const SlowNetwork network(receiver.port(), milliseconds(100));
    // The default of downtime-limit, which send_arguments would raise.
    Process sender(send_arguments(network.endpoint(), "workload:32M,rate=1",
                                  {"--stats", folder / "send.json", "--downtime-limit", "300ms"}));
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
    INFO(sender.both());
    CHECK(guest_went_on(receiver.process()));
    const auto sent = read_stats(folder / "send.json");
    // One and a half round trips are the network's.
    CHECK(sent["downtime"] >= 150);
    // Both sides tell the gap that the guest saw, although neither saw both of its ends.
    const auto received = read_stats(folder / "recv.json");
    CHECK(std::abs(sent["downtime-us"].get<std::int64_t>() -
                   received["downtime-us"].get<std::int64_t>()) <= 1000);
    CHECK(sent["rounds"].size() <= 4);
}

TEST_CASE("a limit below the round trips is reported, and a raised limit is used at once",
          "[live]") {
    const TemporaryFolder folder;
    const std::string path = folder / "qmp";
    Receiver receiver({"--sink", "anon:", "--run-for", "50ms"});
    const SlowNetwork network(receiver.port(), milliseconds(100));
    Process sender(send_arguments(
        network.endpoint(), "workload:32M,rate=1",
        {"--stats", folder / "send.json", "--downtime-limit", "100ms", "--qmp", "unix:" + path}));
    REQUIRE(sender.await_text("the migration stalls"));
    CHECK(said(sender, "the round trips to the receiver take too long for downtime-limit"));
    const auto client = must_connect(path);
    REQUIRE(client->execute("migrate-set-parameters", {{"downtime-limit", 5000}},
                            milliseconds(20'000), {}));
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
    CHECK(guest_went_on(receiver.process()));
}

TEST_CASE("a deadline that switches over does so while rounds are far apart", "[live]") {
    const TemporaryFolder folder;
    LiveRun run(folder, "workload:32M,rate=1",
                {"--downtime-limit", "1ms", "--deadline", "4s", "--on-deadline", "switch"});
    check_arrived(run);
    CHECK(run.sent()["total-time"] < 4000 + kSlack.count());
}

}  // namespace
}  // namespace migrate::e2e
