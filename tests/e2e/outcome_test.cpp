// SPDX-License-Identifier: Apache-2.0
// Every exit code, on both sides, and the line of JSON that goes with it.
#include <csignal>
#include <filesystem>

#include "catch.hpp"
#include "e2e/live_run.hpp"
#include "e2e/raw_peer.hpp"
#include "e2e/tcp_proxy.hpp"
#include "e2e/test_image.hpp"
#include "qmp/client.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;
using std::chrono::milliseconds;
using transport::FrameType;

using Options = std::vector<std::string>;

Options joined(Options words, const Options& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

// Awaits the end of a side with --json. Returns its line: all of standard output, with its code.
json line_of(Process& side) {
    const int code = side.wait();
    INFO(side.both());
    const std::string& out = side.out();
    REQUIRE(std::count(out.begin(), out.end(), '\n') == 1);
    REQUIRE(out.ends_with('\n'));
    const json line = json::parse(out, nullptr, false);
    REQUIRE(line.is_object());
    CHECK(line.at("exit-code") == code);
    for (const char* key : {"outcome", "reason", "guest-owner", "side", "status", "total-time"}) {
        CHECK(line.contains(key));
    }
    return line;
}

struct Expected {
    int code;
    std::string outcome;
    std::string owner;
    std::string reason{};  // a part of it
};

json check_ends(Process& side, const Expected& expected) {
    const json line = line_of(side);
    INFO(side.both());
    CHECK(line["exit-code"] == expected.code);
    CHECK(line["outcome"] == expected.outcome);
    CHECK(line["guest-owner"] == expected.owner);
    CHECK_THAT(line["reason"].get<std::string>(), Contains(expected.reason));
    CHECK(line["reason"].get<std::string>().empty() == (expected.code == 0));
    return line;
}

void check_command(const Options& arguments, const Expected& expected) {
    Process process(arguments);
    check_ends(process, expected);
}

// Both sides with --json, statistics and events in `folder`.
struct Run {
    Run(const TemporaryFolder& in, const std::string& source, const Options& send = {},
        const Options& recv = {"--sink", "anon:"})
        : folder(in),
          receiver(joined({"--json", "--run-for", "20ms", "--stats", in / "recv.json", "--events",
                           in / "recv.events"},
                          recv)),
          sender(send_arguments(receiver, source,
                                joined({"--json", "--run-for", "20ms", "--stats", in / "send.json",
                                        "--events", in / "send.events"},
                                       send))) {}
    void check(const Expected& sent, const Expected& received) {
        check_side(sender, "send", sent);
        check_side(receiver.process(), "recv", received);
    }
    // The line, the statistics and the last event agree.
    void check_side(Process& side, const std::string& name, const Expected& expected) const {
        const json line = check_ends(side, expected);
        const json stats = read_stats(folder / (name + ".json"));
        CHECK(stats["outcome"] == expected.outcome);
        CHECK(stats["guest-owner"] == expected.owner);
        CHECK(stats["status"] == line["status"]);
        CHECK(stats.value("error-desc", "") == line["reason"].get<std::string>());
        const json last = events(name).back();
        CHECK(last["event"] == "MIGRATION");
        CHECK(last["data"]["outcome"] == expected.outcome);
        CHECK(last["data"]["guest-owner"] == expected.owner);
        CHECK(last["data"]["status"] == line["status"]);
        CHECK(last["data"].value("reason", "") == line["reason"].get<std::string>());
    }
    std::vector<json> events(const std::string& name) const {
        std::vector<json> events;
        std::istringstream text(read_file(folder / (name + ".events")));
        for (std::string one; std::getline(text, one);) {
            const json event = json::parse(one);
            // Leaves out the guest's own events, such as STOP.
            if (event["event"] == "MIGRATION" || event["event"] == "MIGRATION_PASS") {
                events.push_back(event);
            }
        }
        REQUIRE_FALSE(events.empty());
        return events;
    }
    // Both are past the handshake.
    void await_first_round() {
        REQUIRE(sender.await_text("connected to"));
        REQUIRE(receiver->await_text(" connected: "));
        await_event("send", "MIGRATION_PASS");
        await_event("recv", "MIGRATION_PASS");
    }
    void await_event(const std::string& name, const std::string& event) {
        const auto until = std::chrono::steady_clock::now() + kDeadline;
        while (read_file(folder / (name + ".events")).find(event) == std::string::npos) {
            REQUIRE(std::chrono::steady_clock::now() < until);
            sender.ended_within(milliseconds(10));
        }
    }

    const TemporaryFolder& folder;
    Receiver receiver;
    Process sender;
};

const char* const kSlowGuest = "workload:64M,rate=20,warm-up=0";
const Options kSlow{"--max-bandwidth", "5M/s"};
const Options kLink{"--max-bandwidth", "60M/s", "--avail-switchover-bandwidth", "60M/s"};

}  // namespace

TEST_CASE("exit code 0: an image, or a guest that is at the destination", "[outcome]") {
    const TemporaryFolder folder;
    {
        Run image(folder, "anon:4M,fill=random", {}, {"--sink", "null:"});
        image.check({0, "completed", "none"}, {0, "completed", "none"});
        CHECK_THAT(image.sender.err(), Contains("moved: 4.00 MiB from anon:4M"));
        CHECK_THAT(image.receiver->err(), Contains("listening on 127.0.0.1:"));
    }
    Run guest(folder, "workload:16M,rate=5,warm-up=0");
    guest.check({0, "completed", "destination"}, {0, "completed", "destination"});
    for (const char* side : {"send", "recv"}) {
        const json stats = read_stats(folder / (std::string(side) + ".json"));
        const json line =
            json::parse((side == std::string("send") ? guest.sender.out() : guest.receiver->out()));
        CHECK(line["downtime"] == stats["downtime"]);
        CHECK(line["total-time"] == stats["total-time"]);
        CHECK(line["transferred"] == stats["ram"]["transferred"]);
    }
}

TEST_CASE("without --json standard output is for people", "[outcome]") {
    Receiver receiver({"--sink", "null:"});
    Process sender(send_arguments(receiver, "anon:1M"));
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
    CHECK_THAT(sender.out(), Contains("moved: 1.00 MiB from anon:1M") && !Contains("{"));
}

TEST_CASE("exit code 2: wrong usage, whenever it is found", "[outcome]") {
    const TemporaryFolder folder;
    const std::string at = "127.0.0.1:1";
    check_command({"send", "--connct", at, "--json"}, {2, "usage", "none", "connect"});
    check_command({"recv", "--json", "--listen", "nonsense"}, {2, "usage", "none", "listen"});
    check_command({"send", "--json"}, {2, "usage", "none", "--source"});
    check_command({"send", "--json", "--connect", at, "--source", "file:" + (folder / "missing")},
                  {2, "usage", "none", folder / "missing"});
    check_command({"recv", "--json", "--listen", "127.0.0.1:0", "--sink", "tape:0"},
                  {2, "usage", "none", "tape"});
    check_command(
        {"send", "--json", "--connect", at, "--source", "workload:1M", "--quit-source", "on"},
        {2, "usage", "source", "quit-source"});
    check_command({"send", "--json", "--connect", at, "--source", "anon:1M", "--stats",
                   folder / "missing/stats"},
                  {2, "usage", "none", folder / "missing"});
    check_command({"recv", "--json", "--listen", "127.0.0.1:0", "--sink", "null:", "--port-file",
                   folder / "missing/port"},
                  {2, "usage", "none", folder / "missing"});
}

TEST_CASE("exit code 3: the receiver refuses, and goes on waiting", "[outcome]") {
    Receiver receiver({"--json", "--sink", "null:"});
    Process sender(send_arguments(receiver, "anon:1M", {"--json", "--verify", "digest"}));
    check_ends(sender, {3, "refused", "none", "the receiver refused: sink null:"});
    Process guest(send_arguments(receiver, "workload:1M,warm-up=0", {"--json", "--run-for", "1"}));
    check_ends(guest, {3, "refused", "source", "the receiver refused: a running guest"});
    receiver->signal(SIGTERM);
    check_ends(receiver.process(), {4, "cancelled", "none", "SIGTERM"});
    Receiver one_way({"--json", "--sink", "anon:"});
    Process returns(send_arguments(one_way, "workload:1M,warm-up=0",
                                   {"--json", "--repeat", "1", "--run-for", "1"}));
    check_ends(returns, {3, "refused", "source", "--repeat"});
    one_way->signal(SIGINT);
    check_ends(one_way.process(), {4, "cancelled", "none", "SIGINT"});
}

TEST_CASE("exit code 3: the receiver is busy with another sender's handshake", "[outcome][wire]") {
    Receiver receiver({"--json", "--sink", "null:"});
    RawSender first(receiver.port(), make_offer(2, 4));
    Process second(send_arguments(receiver, "anon:1M", {"--json"}));
    check_ends(second, {3, "refused", "none", "busy"});
    first.close();
    receiver->signal(SIGINT);
    check_ends(receiver.process(), {4, "cancelled", "none"});
}

TEST_CASE("exit code 3: this side refuses before a page moves", "[outcome]") {
    const TemporaryFolder folder;
    check_command(
        {"send", "--json", "--connect", "127.0.0.1:1", "--source", "qemu:" + (folder / "nobody")},
        {3, "refused", "source", "no process listens there"});
    check_command(
        {"recv", "--json", "--listen", "127.0.0.1:0", "--sink", "qemu:" + (folder / "nobody")},
        {3, "refused", "none", "no process listens there"});
    check_command({"send", "--json", "--connect", "127.0.0.1:1", "--source", "anon:1M",
                   "--zero-page-detection", "dsa-accel", "--accel-path", "dsa:/dev/dsa/wq77.7"},
                  {3, "refused", "none", "wq77.7"});
}

TEST_CASE("exit code 3: a peer that refuses, or is none of ours, before a page moves",
          "[outcome][wire]") {
    const auto check = [](FrameType type, const std::string& body, const Expected& expected) {
        const RawListener listener;
        Process sender({"send", "--json", "--connect", listener.endpoint(), "--source", "anon:1M"});
        const RawSocket main = listener.accept();
        main.send(frame_of(type, body));
        check_ends(sender, expected);
    };
    check(FrameType::kRefuse, R"({"reason":"no room"})", {3, "refused", "none", "no room"});
    check(FrameType::kAccept, R"({"session":"xyz"})", {3, "refused", "none", "session"});
    check(FrameType::kFailure, R"({"reason":"full","outcome":"refused"})",
          {3, "refused", "none", "full"});
    check(FrameType::kFailure, R"({"reason":"full","outcome":"failed"})",
          {1, "failed", "none", "full"});
    check(FrameType::kFailure, R"({"reason":"full","outcome":"of-tomorrow"})",
          {1, "failed", "none", "full"});
    check(FrameType::kFailure, R"({"reason":"full"})", {1, "failed", "none", "full"});
    check(FrameType::kFailure, R"({"reason":"Ctrl-C","cancelled":true})",
          {4, "cancelled", "none", "Ctrl-C"});
    Receiver receiver({"--json", "--sink", "null:"});
    RawSender sender(receiver.port(), make_offer(2, 4));
    sender.connect_channels();
    sender.main().send(
        frame_of(FrameType::kFailure, R"({"reason":"no tracker","outcome":"refused"})"));
    check_ends(receiver.process(), {3, "refused", "none", "the peer refused: no tracker"});
}

TEST_CASE("exit code 4: a signal on either side cancels both", "[outcome]") {
    const bool at_sender = GENERATE(true, false);
    const TemporaryFolder folder;
    Run run(folder, kSlowGuest, kSlow);
    run.await_first_round();
    (at_sender ? run.sender : run.receiver.process()).signal(SIGINT);
    run.check({4, "cancelled", "source", "SIGINT"}, {4, "cancelled", "source", "SIGINT"});
    CHECK_THAT((at_sender ? run.receiver.process() : run.sender).err(),
               Contains("cancelled by the peer"));
}

TEST_CASE("exit code 4: migrate_cancel on either side cancels both", "[outcome]") {
    const bool at_sender = GENERATE(true, false);
    const TemporaryFolder folder;
    const std::string path = folder / "qmp";
    const Options qmp{"--qmp", "unix:" + path};
    Run run(folder, kSlowGuest, at_sender ? joined(kSlow, qmp) : kSlow,
            joined({"--sink", "anon:"}, at_sender ? Options() : qmp));
    run.await_first_round();
    const auto client = qmp::Client::connect("unix:" + path, milliseconds(20'000), {});
    REQUIRE(client);
    REQUIRE((*client)->execute("migrate_cancel", json::object(), milliseconds(20'000), {}));
    run.check({4, "cancelled", "source", "migrate_cancel"},
              {4, "cancelled", "source", "migrate_cancel"});
}

TEST_CASE("exit code 4: a signal before there is a session", "[outcome]") {
    Process warming({"send", "--json", "--connect", "127.0.0.1:1", "--source",
                     "workload:1M,warm-up=60s", "--run-for", "1"});
    // It blocks the signal once it is ready for it.
    while (!warming.ended_within(milliseconds(20))) warming.signal(SIGTERM);
    // Earlier the signal ends the process, as it does without --json.
    if (warming.wait() == 128 + SIGTERM) return;
    check_ends(warming, {4, "cancelled", "source", "SIGTERM"});
}

TEST_CASE("exit code 4 and one line: a second signal ends at once", "[outcome]") {
    const TemporaryFolder folder;
    Run run(folder, kSlowGuest, kSlow);
    run.await_first_round();
    // A peer that does not read keeps the goodbye waiting.
    run.receiver->signal(SIGSTOP);
    run.sender.signal(SIGINT);
    run.sender.ended_within(milliseconds(100));
    run.sender.signal(SIGINT);
    check_ends(run.sender, {4, "cancelled", "source", "SIGINT"});
    run.receiver->signal(SIGKILL);
    run.receiver->wait();
}

TEST_CASE("exit code 5: a guest that does not converge, on both sides", "[outcome]") {
    const std::string limit = GENERATE(std::string("--stall-limit"), std::string("--deadline"));
    const TemporaryFolder folder;
    Run run(folder, "workload:32M,rate=150,warm-up=0",
            joined(kLink, {"--downtime-limit", "20ms", limit, "1s"}));
    run.check({5, "not-converged", "source"}, {5, "not-converged", "source", "the peer gave up: "});
    CHECK(read_stats(folder / "send.json")["status"] == "failed");
    CHECK_THAT(run.sender.err(), Contains("memory check: passed"));
}

TEST_CASE("exit code 1: the other side is killed", "[outcome]") {
    const bool at_sender = GENERATE(true, false);
    const TemporaryFolder folder;
    Run run(folder, kSlowGuest, joined(kSlow, {"--reconnect-timeout", "0"}));
    run.await_first_round();
    Process& killed = at_sender ? run.sender : run.receiver.process();
    Process& other = at_sender ? run.receiver.process() : run.sender;
    killed.signal(SIGKILL);
    killed.wait();
    run.check_side(other, at_sender ? "recv" : "send", {1, "failed", "source"});
    // The killed side's file has no result.
    const json begun = read_stats(folder / (at_sender ? "send.json" : "recv.json"));
    CHECK(begun["status"] == "setup");
}

TEST_CASE("exit code 1: no connection can be made, and no name resolved", "[outcome][wire]") {
    const RawListener listener;  // which does not accept
    check_command({"send", "--json", "--connect", "127.0.0.1:1", "--source", "anon:1M",
                   "--connect-timeout", "100ms"},
                  {1, "failed", "none", "127.0.0.1:1: Connection refused for 100 ms"});
    check_command({"send", "--json", "--connect", listener.endpoint(), "--source", "anon:1M",
                   "--handshake-timeout", "200ms"},
                  {1, "failed", "none", "handshake-timeout"});
    check_command(
        {"recv", "--json", "--listen", "127.0.0.1:0", "--sink", "null:", "--listen-timeout", "1"},
        {1, "failed", "none", "listen-timeout"});
    check_command({"recv", "--json", "--listen", listener.endpoint(), "--sink", "null:"},
                  {1, "failed", "none", "cannot listen on"});
}

TEST_CASE("exit code 6: a handover that was not confirmed leaves the owner unknown",
          "[outcome][wire]") {
    const FrameType frame = GENERATE(FrameType::kHandover, FrameType::kDone);
    const CutBy by = GENERATE(CutBy::kFin, CutBy::kReset);
    const TemporaryFolder folder;
    const Options timeouts{"--json", "--run-for", "20ms", "--io-timeout", "5s"};
    Receiver receiver(joined(timeouts, {"--sink", "anon:", "--stats", folder / "recv.json"}));
    const TcpProxy network(receiver.port(),
                           {.connection = 0, .by = by, .when = {.before_frame = frame}});
    Process sender(send_arguments(
        network.endpoint(), "workload:16M,rate=10,warm-up=0",
        joined(timeouts, {"--stats", folder / "send.json", "--reconnect-timeout", "0"})));
    check_ends(sender, {6, "owner-unknown", "unknown", "handed over"});
    CHECK_FALSE(guest_went_on(sender));
    CHECK(read_stats(folder / "send.json")["outcome"] == "owner-unknown");
    CHECK(read_stats(folder / "send.json")["guest"]["state"] == "paused");
    // The receiver knows: it got HANDOVER, or will never run the guest.
    if (frame == FrameType::kDone) {
        check_ends(receiver.process(), {0, "completed", "destination"});
    } else {
        check_ends(receiver.process(), {1, "failed", "source"});
    }
}

TEST_CASE("an old statistics file does not survive a run that fails", "[outcome]") {
    const TemporaryFolder folder;
    const std::string stats = folder / "stats";
    const auto check = [&](const Options& arguments, const std::string& outcome) {
        write_file(stats, R"({"status":"completed"})");
        Process process(joined(arguments, {"--stats", stats}));
        process.wait();
        INFO(process.both());
        const json now = read_stats(stats);
        CHECK(now["status"] == "failed");
        CHECK(now["outcome"] == outcome);
        CHECK(now.contains("guest-owner"));
        CHECK_FALSE(now["error-desc"].get<std::string>().empty());
    };
    const Options send{"send", "--connect", "127.0.0.1:1"};
    const Options recv{"recv", "--listen", "127.0.0.1:0"};
    check(joined(send, {"--source", "anon:1M", "--connect-timeout", "100ms"}), "failed");
    check(joined(send, {"--source", "file:" + (folder / "missing")}), "usage");
    check(joined(send, {"--source", "qemu:" + (folder / "missing")}), "refused");
    check(joined(recv, {"--sink", "qemu:" + (folder / "missing")}), "refused");
    check(joined(recv, {"--sink", "null:", "--listen-timeout", "1"}), "failed");
    CHECK(folder.names() == std::vector<std::string>{"stats"});
}

TEST_CASE("while a run goes on its statistics say so, whole", "[outcome]") {
    const TemporaryFolder folder;
    write_file(folder / "send.json", R"({"status":"completed"})");
    Run run(folder, kSlowGuest, kSlow);
    run.await_first_round();
    for (const char* name : {"send.json", "recv.json"}) {
        const json stats = read_stats(folder / name);
        CHECK(stats["status"] == "setup");
        CHECK_FALSE(stats.contains("outcome"));
    }
    run.sender.signal(SIGINT);
    run.check({4, "cancelled", "source"}, {4, "cancelled", "source"});
}

TEST_CASE("statistics that cannot be written do not make a failure of a success", "[outcome]") {
    const TemporaryFolder folder;
    std::filesystem::create_directory(folder / "gone");
    Receiver receiver({"--json", "--sink", "null:", "--stats", folder / "gone/recv.json"});
    Process sender(send_arguments(
        receiver, "anon:16M,fill=random",
        {"--json", "--max-bandwidth", "16M/s", "--stats", folder / "gone/send.json"}));
    REQUIRE(sender.await_text("connected to"));
    std::filesystem::remove_all(folder / "gone");
    for (Process* side : {&sender, &receiver.process()}) {
        const json line = check_ends(*side, {0, "completed", "none"});
        CHECK_THAT(line["stats-error"].get<std::string>(), Contains(folder / "gone"));
        CHECK_THAT(side->err(), Contains("migrate: error: ") && Contains(folder / "gone"));
    }
}

TEST_CASE("an old port file does not survive a receiver that cannot listen", "[outcome]") {
    const TemporaryFolder folder;
    write_file(folder / "port", "4444\n");
    check_command({"recv", "--json", "--listen", "127.0.0.1:0", "--sink",
                   "qemu:" + (folder / "missing"), "--port-file", folder / "port"},
                  {3, "refused", "none"});
    CHECK(folder.names().empty());
}

TEST_CASE("each pass says what it is to send and what the passes before it found", "[outcome]") {
    const TemporaryFolder folder;
    Run run(folder, "workload:32M,rate=40,warm-up=0", joined(kLink, {"--downtime-limit", "100ms"}));
    run.check({0, "completed", "destination"}, {0, "completed", "destination"});
    const json stats = read_stats(folder / "send.json");
    const json& rounds = stats["rounds"];
    std::uint64_t pages = 0;
    std::size_t pass = 0;
    for (const json& event : run.events("send")) {
        if (event["event"] != "MIGRATION_PASS") continue;
        const json& data = event["data"];
        CHECK(data["pass"] == pass + 1);
        CHECK(data["pages"] == rounds[pass]["pages"]);
        CHECK(data["bytes"] == data["pages"].get<std::uint64_t>() * 4096);
        CHECK(data.contains("transferred"));
        pages += data["pages"].get<std::uint64_t>();
        if (pass > 0) {
            const json& before = rounds[pass - 1];
            CHECK(data["dirty-pages"] == before["dirty-pages"]);
            CHECK(data["bandwidth"] == before["bandwidth"]);
            CHECK(data["dirty-pages-rate"] == before["dirty-pages-rate"]);
            CHECK(data["expected-downtime"] ==
                  before["expected-downtime-us"].get<std::uint64_t>() / 1000);
            CHECK(data["downtime-limit"] == 100);
            CHECK(data["cpu-throttle-percentage"] == 0);
        }
        ++pass;
    }
    CHECK(pass == rounds.size());
    CHECK(pages == stats["ram"]["planned-pages"]);
    std::uint64_t placed = 0;
    for (const json& event : run.events("recv")) {
        if (event["event"] == "MIGRATION_PASS")
            placed += event["data"]["pages"].get<std::uint64_t>();
    }
    CHECK(placed == pages);
}

TEST_CASE("a journey's line names the side of the command, at home or abroad", "[outcome]") {
    const TemporaryFolder folder;
    const Options repeat{"--repeat", "2"};
    Run run(folder, "workload:8M,rate=5,warm-up=0", repeat, joined({"--sink", "anon:"}, repeat));
    for (Process* side : {&run.sender, &run.receiver.process()}) {
        const json line = check_ends(*side, {0, "completed", "source"});
        CHECK(line["leg"] == 4);
    }
}

TEST_CASE("a journey that is interrupted says where the guest is", "[outcome]") {
    const bool at_home = GENERATE(true, false);
    const TemporaryFolder folder;
    const Options repeat{"--repeat", "1000", "--handshake-timeout", "2s"};
    Run run(folder, "workload:8M,rate=5,warm-up=0", repeat, joined({"--sink", "anon:"}, repeat));
    REQUIRE(run.sender.await_text("leg 3,"));
    Process& interrupted = at_home ? run.sender : run.receiver.process();
    Process& other = at_home ? run.receiver.process() : run.sender;
    interrupted.signal(SIGINT);
    const json here = line_of(interrupted);
    const json there = line_of(other);
    INFO(run.sender.both() << run.receiver->both());
    CHECK(here["exit-code"] == 4);
    // Between two legs there is nobody to tell.
    CHECK((there["exit-code"] == 4 || there["exit-code"] == 1));
    const bool home = guest_went_on(run.sender);
    CHECK(home != guest_went_on(run.receiver.process()));
    CHECK(here["guest-owner"] == (home ? "source" : "destination"));
    CHECK(there["guest-owner"] == here["guest-owner"]);
}

}  // namespace migrate::e2e
