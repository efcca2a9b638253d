// SPDX-License-Identifier: Apache-2.0
#include "qmp/client.hpp"

#include <sys/socket.h>

#include <thread>
#include <vector>

#include "catch.hpp"
#include "qmp/server.hpp"
#include "qmp/socket_file.hpp"
#include "tests/qmp/raw_qmp.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/unix_socket.hpp"

namespace migrate::qmp {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kNow{0};
const std::string kGreeting =
    R"({"QMP": {"version": {"qemu": {"micro": 1, "minor": 2, "major": 8}, "package": ""}, "capabilities": ["oob"]}})"
    "\r\n";
const std::string kNegotiated = R"({"return": {}, "id": 1})"
                                "\r\n";

// A QEMU whose words are written down in advance: the socket keeps them until the client has asked.
// The client numbers its commands from 1, which is qmp_capabilities.
class Fake {
  public:
    explicit Fake(const std::string& script) : Fake(script, unix_socket_pair()) {}

    RawQmp& peer() { return peer_; }
    Client& client() { return *client_; }
    Result<Json> execute(milliseconds timeout = kLong) {
        return client_->execute("query-status", Json::object(), timeout, {});
    }
    Result<Json> wait_event(const char* name, milliseconds timeout = kLong) {
        return client_->wait_event(name, timeout, {});
    }

  private:
    Fake(const std::string& script, std::pair<UniqueFd, UniqueFd> pair)
        : peer_(std::move(pair.first)) {
        peer_.write(kGreeting + kNegotiated + script);
        client_ = must(Client::adopt(std::move(pair.second), kLong, {}));
    }

    RawQmp peer_;
    std::unique_ptr<Client> client_;
};

ErrorKind kind_of(const Result<Json>& result) {
    REQUIRE_FALSE(result);
    INFO(result.error().message());
    CHECK(result.error().message().find("QMP ") == 0);
    return result.error().kind();
}

// Returns the result of a connection whose first bytes are these.
Error adopt_error(const std::string& script, milliseconds timeout = kLong) {
    auto [near, far] = unix_socket_pair();
    RawQmp peer(std::move(near));
    peer.write(script);
    if (timeout == kLong) peer.end_of_input();
    auto client = Client::adopt(std::move(far), timeout, {});
    REQUIRE_FALSE(client);
    return client.error();
}

TEST_CASE("a client that awaits input wakes at a word or the peer's end, and else in time") {
    Fake fake("");
    must(fake.client().await_input(kNow, {}));
    fake.peer().write(R"({"event": "STOP"})"
                      "\r\n");
    must(fake.client().await_input(kLong, {}));
    CHECK(must(fake.wait_event("STOP", kNow))["event"] == "STOP");
    fake.peer().close();
    must(fake.client().await_input(kLong, {}));
    CHECK(kind_of(fake.execute()) == ErrorKind::kLostConnection);
}

TEST_CASE("client and server understand one another") {
    const TemporaryFolder folder;
    const std::string address = "unix:" + folder / "qmp";
    const auto server = must(Server::create(
        address,
        {{"echo", [](const Json& arguments) -> Result<Json> { return arguments; }},
         {"fail", [](const Json&) -> Result<Json> { return make_error("no \"luck\""); }}}));
    const auto client = must(Client::connect(address, kLong, {}));
    CHECK(client->version() == Dispatcher::greeting()["QMP"]["version"]);
    const Json arguments = {{"b", "text"}, {"a", {1, 2.5, nullptr}}};
    CHECK(must(client->execute("echo", arguments, kLong, {})) == arguments);
    CHECK(must(client->execute("echo", Json::object(), kLong, {})) == Json::object());
    const auto failed = client->execute("fail", Json::object(), kLong, {});
    CHECK(kind_of(failed) == ErrorKind::kPeer);
    CHECK(message_of(failed) == "QMP command fail: GenericError: no \"luck\"");
    CHECK(message_of(client->execute("none", Json::object(), kLong, {})).find("CommandNotFound") !=
          std::string::npos);
    server->broadcast("NEWS", {{"n", 1}});
    CHECK(must(client->wait_event("NEWS", kLong, {}))["data"]["n"] == 1);
}

TEST_CASE("the client negotiates before anything else, and numbers its commands") {
    Fake fake(R"({"return": {"running": true}, "id": 2})");
    CHECK(fake.peer().message().dump() ==
          R"({"execute":"qmp_capabilities","arguments":{"enable":["oob"]},"id":1})");
    CHECK(must(fake.execute())["running"] == true);
    CHECK(fake.peer().message().dump() == R"({"execute":"query-status","id":2})");
    CHECK(fake.client().version()["qemu"]["major"] == 8);
}

TEST_CASE("events between a command and its answer are kept in order") {
    Fake fake(R"({"event": "A", "data": {"n": 1}} {"event": "B"} {"return": "done", "id": 2}
                 {"event": "A", "data": {"n": 2}})");
    CHECK(must(fake.execute()) == "done");
    CHECK(must(fake.wait_event("B"))["event"] == "B");
    CHECK(must(fake.wait_event("A"))["data"]["n"] == 1);
    CHECK(must(fake.wait_event("A"))["data"]["n"] == 2);
    CHECK(kind_of(fake.wait_event("A", kNow)) == ErrorKind::kTimeout);
}

TEST_CASE("the oldest of too many events are dropped") {
    std::string script;
    for (std::size_t i = 0; i < kMaxKeptEvents + 5; ++i)
        script += R"({"event": "A", "data": )" + std::to_string(i) + "}\r\n";
    Fake fake(script + R"({"return": {}, "id": 2})");
    must(fake.execute());
    CHECK(must(fake.wait_event("A"))["data"] == 5);
}

TEST_CASE("an answer that comes too late is not the next command's") {
    Fake fake("");
    CHECK(kind_of(fake.execute(kNow)) == ErrorKind::kTimeout);
    fake.peer().write(R"({"return": "late", "id": 2}{"return": "right", "id": 3})");
    CHECK(must(fake.execute()) == "right");
}

TEST_CASE("half an answer is completed by the next call") {
    Fake fake(R"({"return": "late", "i)");
    CHECK(kind_of(fake.execute(kNow)) == ErrorKind::kTimeout);
    fake.peer().write(R"(d": 2}{"return": "right", "id": 3})");
    CHECK(must(fake.execute()) == "right");
}

TEST_CASE("an answer to a command that was given up ends no wait for an event") {
    Fake fake("");
    CHECK(kind_of(fake.execute(kNow)) == ErrorKind::kTimeout);
    fake.peer().write(R"({"return": "late", "id": 2}{"event": "A"})");
    must(fake.wait_event("A"));
}

TEST_CASE("an answer to what was never asked is a protocol error, and stays one") {
    for (const char* answer : {R"({"return": {}, "id": 3})", R"({"return": {}, "id": "2"})",
                               R"({"return": {}})", R"({"return": {}, "id": -1})", R"({"id": 2})",
                               R"({"error": "text", "id": 2})", "[]", "garbage\n"}) {
        INFO(answer);
        Fake fake(answer);
        CHECK(kind_of(fake.execute()) == ErrorKind::kProtocol);
        CHECK(kind_of(fake.execute()) == ErrorKind::kProtocol);
        CHECK(kind_of(fake.wait_event("A")) == ErrorKind::kProtocol);
    }
}

TEST_CASE("an error without an id is the answer to the command under way") {
    Fake fake(R"({"error": {"class": "GenericError", "desc": "Invalid JSON syntax"}})");
    CHECK(kind_of(fake.execute()) == ErrorKind::kPeer);
}

TEST_CASE("a peer's error is shown without its control characters, and not at any length") {
    Fake fake(R"({"error": {"class": "GenericError", "desc": "a\u001b[2J\n)" +
              std::string(5000, 'x') + R"("}, "id": 2})");
    const auto failed = fake.execute();
    CHECK(message_of(failed).find("GenericError: a [2J xxx") != std::string::npos);
    CHECK(message_of(failed).size() < 2000);
}

TEST_CASE("a peer that closes is a lost connection, in mid-answer too") {
    for (const char* script : {"", R"({"return": {)", R"({"event": "B"})"}) {
        Fake fake(script);
        fake.peer().close();
        CHECK(kind_of(fake.wait_event("A")) == ErrorKind::kLostConnection);
        CHECK(kind_of(fake.execute()) == ErrorKind::kLostConnection);
    }
    Fake fake("");
    fake.peer().close();
    CHECK(kind_of(fake.execute()) == ErrorKind::kLostConnection);
}

TEST_CASE("a peer without an end to its events ends no wait") {
    auto [near, far] = unix_socket_pair();
    RawQmp peer(std::move(near));
    peer.write(kGreeting + kNegotiated);
    const auto client = must(Client::adopt(std::move(far), kLong, {}));
    std::jthread flood([&](const std::stop_token& stop) {
        const std::string event = R"({"event": "B"})";
        while (!stop.stop_requested()) peer.write_some(event);
    });
    CHECK(kind_of(client->wait_event("A", milliseconds(1), {})) == ErrorKind::kTimeout);
}

TEST_CASE("a command that fits only in part leaves a broken connection") {
    Fake fake("");
    const Json big = {{"x", std::string(std::size_t{4} << 20, 'x')}};
    CHECK(kind_of(fake.client().execute("big", big, kNow, {})) == ErrorKind::kTimeout);
    fake.peer().write(R"({"return": {}, "id": 3})");
    CHECK(kind_of(fake.execute()) == ErrorKind::kTimeout);
}

TEST_CASE("commands that were sent ahead are answered, whichever is awaited first") {
    Fake fake(R"({"return": "three", "id": 3}{"event": "A"}{"return": "two", "id": 2})"
              R"({"return": "four", "id": 4}{"return": "five", "id": 5})");
    const auto ahead = [&](const char* command) {
        return must(fake.client().send_ahead(command, Json::object(), kLong, {}));
    };
    const auto two = ahead("query-a");
    const auto three = ahead("query-b");
    const auto four = ahead("query-c");
    CHECK(must(fake.client().await(two, "query-a", kLong, {})) == "two");
    CHECK(must(fake.client().await(three, "query-b", kLong, {})) == "three");
    CHECK(must(fake.execute()) == "five");
    CHECK(must(fake.client().await(four, "query-c", kLong, {})) == "four");
    must(fake.wait_event("A"));
    CHECK(fake.peer().message()["execute"] == "qmp_capabilities");
    CHECK(fake.peer().message()["execute"] == "query-a");
}

TEST_CASE("an answer to a command sent ahead is kept while an event is awaited") {
    Fake fake(R"({"error": {"class": "GenericError", "desc": "no"}, "id": 2}{"event": "A"})");
    const auto ticket = must(fake.client().send_ahead("query-a", Json::object(), kLong, {}));
    must(fake.wait_event("A"));
    const auto refused = fake.client().await(ticket, "query-a", kNow, {});
    CHECK(kind_of(refused) == ErrorKind::kPeer);
    CHECK(message_of(refused) == "QMP command query-a: GenericError: no");
}

TEST_CASE("an answer that was forgotten is dropped, before it comes or after") {
    Fake fake("");
    const auto ahead = [&] {
        return must(fake.client().send_ahead("query-a", Json::object(), kLong, {}));
    };
    fake.client().forget(ahead());
    const auto late = ahead();
    fake.peer().write(R"({"return": "two", "id": 2}{"return": "three", "id": 3})");
    must(fake.client().await_input(kLong, {}));
    must(fake.client().read_pending());
    fake.client().forget(late);
    fake.peer().write(R"({"return": "right", "id": 4})");
    CHECK(must(fake.execute()) == "right");
}

TEST_CASE("a command sent ahead fails as one that is executed") {
    Fake fake("");
    std::stop_source stop;
    const auto ticket = must(fake.client().send_ahead("x", Json::object(), kLong, {}));
    CHECK(kind_of(fake.client().await(ticket, "x", kNow, {})) == ErrorKind::kTimeout);
    stop.request_stop();
    CHECK_FALSE(fake.client().send_ahead("x", Json::object(), kLong, stop.get_token()));
    const auto second = must(fake.client().send_ahead("x", Json::object(), kLong, {}));
    fake.peer().close();
    CHECK(kind_of(fake.client().await(second, "x", kLong, {})) == ErrorKind::kLostConnection);
}

TEST_CASE("a stop ends every wait, before and during it") {
    Fake fake("");
    std::stop_source before;
    before.request_stop();
    CHECK(kind_of(fake.client().wait_event("A", kLong, before.get_token())) ==
          ErrorKind::kCancelled);
    for (int i = 0; i < 50; ++i) {
        std::stop_source stop;
        ErrorKind kind{};
        std::jthread waiter([&] {
            const auto result =
                i % 2 == 0 ? fake.client().wait_event("A", kLong, stop.get_token())
                           : fake.client().execute("x", Json::object(), kLong, stop.get_token());
            if (!result) kind = result.error().kind();
        });
        stop.request_stop();
        waiter.join();
        REQUIRE(kind == ErrorKind::kCancelled);
    }
}

TEST_CASE("a command that was cancelled before it began is not sent") {
    Fake fake(R"({"return": {}, "id": 2})");
    std::stop_source stop;
    stop.request_stop();
    CHECK(kind_of(fake.client().execute("never", Json::object(), kLong, stop.get_token())) ==
          ErrorKind::kCancelled);
    must(fake.execute());
    CHECK(fake.peer().message()["execute"] == "qmp_capabilities");
    CHECK(fake.peer().message()["execute"] == "query-status");
}

TEST_CASE("a peer without QMP's greeting is refused") {
    CHECK(adopt_error("SSH-2.0-OpenSSH\r\n").kind() == ErrorKind::kProtocol);
    CHECK(adopt_error("{}").kind() == ErrorKind::kProtocol);
    CHECK(adopt_error(R"({"QMP": {}})").kind() == ErrorKind::kProtocol);
    CHECK(adopt_error(R"({"event": "A"})").kind() == ErrorKind::kProtocol);
    CHECK(adopt_error(R"({"QMP": {"ver)").kind() == ErrorKind::kLostConnection);
    CHECK(adopt_error(kGreeting).kind() == ErrorKind::kLostConnection);
    CHECK(adopt_error(kGreeting + R"({"error": {"class": "C", "desc": "d"}, "id": 1})").kind() ==
          ErrorKind::kPeer);
    CHECK(adopt_error("", kNow).kind() == ErrorKind::kTimeout);
    CHECK(adopt_error(kGreeting, kNow).kind() == ErrorKind::kTimeout);
}

TEST_CASE("a connection attempt fails at once where no server listens") {
    const TemporaryFolder folder;
    const std::string address = "unix:" + folder / "qmp";
    const auto client = Client::connect(address, kLong, {});
    REQUIRE_FALSE(client);
    CHECK(client.error().kind() == ErrorKind::kFailed);
    CHECK(message_of(client).find("-qmp " + address) != std::string::npos);
    const auto wrong = Client::connect("tcp:localhost:1", kLong, {});
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().kind() == ErrorKind::kUsage);
}

TEST_CASE("a connection attempt to a server that does not accept ends at its timeout") {
    const TemporaryFolder folder;
    const std::string address = "unix:" + folder / "qmp";
    const SocketFile file = must(SocketFile::create(address));
    std::stop_source stop;
    stop.request_stop();
    // The first wait for a greeting, the later ones for room in the queue of newcomers.
    std::vector<UniqueFd> waiting;
    for (const bool full : {false, true}) {
        if (full) waiting = fill_unix_queue(folder / "qmp");
        const auto late = Client::connect(address, milliseconds(1), {});
        REQUIRE_FALSE(late);
        CHECK(late.error().kind() == ErrorKind::kTimeout);
        const auto stopped = Client::connect(address, kLong, stop.get_token());
        REQUIRE_FALSE(stopped);
        CHECK(stopped.error().kind() == ErrorKind::kCancelled);
    }
}

}  // namespace
}  // namespace migrate::qmp
