// SPDX-License-Identifier: Apache-2.0
#include "qmp/server.hpp"

#include <filesystem>
#include <future>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "tests/qmp/raw_qmp.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::qmp {
namespace {

constexpr const char* kEcho = R"({"execute":"echo","arguments":{"x":1}})";
const Json kEchoed = Json::parse(R"({"return":{"x":1}})");
const std::string kBulk(std::size_t{64} * 1024, 'x');

// A server in a folder of its own.
class Served {
  public:
    explicit Served(std::map<std::string, Command> commands = {}) {
        commands.emplace("echo", [](const Json& arguments) -> Result<Json> { return arguments; });
        server_ = must(Server::create(address(), std::move(commands)));
    }
    std::string path() const { return folder_ / "qmp"; }
    std::string address() const { return "unix:" + path(); }
    Server& server() { return *server_; }
    RawQmp client() const { return RawQmp::negotiated(address()); }
    void end() { server_.reset(); }

  private:
    TemporaryFolder folder_;
    std::unique_ptr<Server> server_;
};

// Returns the number of lines until the server closes the connection.
std::size_t lines_until_closed(RawQmp& client) {
    std::size_t lines = 0;
    while (client.line()) ++lines;
    return lines;
}

TEST_CASE("a client is greeted, negotiates and is served") {
    const Served served;
    RawQmp client = RawQmp::connect(served.address());
    CHECK(client.message() == Dispatcher::greeting());
    CHECK(client.ask(kEcho)["error"]["class"] == "CommandNotFound");
    CHECK(client.ask(R"({"execute":"qmp_capabilities","id":7})").dump() ==
          R"({"return":{},"id":7})");
    CHECK(client.ask(kEcho) == kEchoed);
}

TEST_CASE("several clients are served side by side, each with its own negotiation") {
    const Served served;
    RawQmp first = served.client();
    RawQmp second = RawQmp::connect(served.address());
    first.write(R"({"execute":)");
    CHECK(second.message().contains("QMP"));
    CHECK(second.ask(kEcho).contains("error"));
    CHECK(first.ask(R"("echo","arguments":{"x":1}})") == kEchoed);
}

TEST_CASE("requests in one segment are answered in their order") {
    const Served served;
    RawQmp client = served.client();
    client.write(
        R"({"execute":"echo","id":1}{"execute":"none","id":2} [] {"execute":"echo","id":3})");
    CHECK(client.message()["id"] == 1);
    CHECK(client.message()["id"] == 2);
    CHECK(client.message().contains("error"));
    CHECK(client.message()["id"] == 3);
}

TEST_CASE("garbage and oversized requests are answered with errors, and the connection goes on") {
    const Served served;
    RawQmp client = served.client();
    for (const std::string& wrong :
         {std::string("GET / HTTP/1.1"), std::string(1000, '['), R"({"x":")" + kBulk + "\"}"}) {
        const Json answer = client.ask(wrong + "\n");
        CHECK(answer["error"]["class"] == "GenericError");
        CHECK(client.ask(kEcho) == kEchoed);
    }
}

TEST_CASE("a client that asks much before it reads gets every answer") {
    const Served served;
    RawQmp client = served.client();
    constexpr int kRequests = 20'000;
    std::jthread writer([&] {
        for (int i = 0; i < kRequests; ++i)
            client.write(R"({"execute":"echo","id":)" + std::to_string(i) + "}");
    });
    bool in_order = true;
    for (int i = 0; i < kRequests; ++i) in_order = client.message()["id"] == i && in_order;
    CHECK(in_order);
}

TEST_CASE("a client that closes its half only gets its answers") {
    const Served served;
    RawQmp client = RawQmp::connect(served.address());
    client.write(std::string(R"({"execute":"qmp_capabilities"})") + kEcho + R"({"execute":)");
    client.end_of_input();
    CHECK(lines_until_closed(client) == 3);
}

TEST_CASE("a client that vanishes harms no other client") {
    const Served served;
    RawQmp stays = served.client();
    for (int i = 0; i < 50; ++i) {
        RawQmp goes = RawQmp::connect(served.address());
        goes.write(R"({"execute":"qmp_capabilities"}{"execute":"query-commands"}{"exec)");
    }
    CHECK(stays.ask(kEcho) == kEchoed);
}

TEST_CASE("events reach only clients that have left negotiation") {
    Served served;
    RawQmp listens = served.client();
    RawQmp negotiates = RawQmp::connect(served.address());
    CHECK(negotiates.message().contains("QMP"));
    served.server().broadcast("MIGRATION", {{"status", "active"}});
    const Json event = listens.message();
    CHECK(event["event"] == "MIGRATION");
    CHECK(event["data"]["status"] == "active");
    CHECK(event["timestamp"]["seconds"] > 0);
    CHECK(negotiates.ask(R"({"execute":"qmp_capabilities"})").contains("return"));
}

TEST_CASE("a command may broadcast; its answer comes first") {
    Server* server = nullptr;
    Served served({{"announce", [&server](const Json&) -> Result<Json> {
                        server->broadcast("NEWS", Json::object());
                        return Json::object();
                    }}});
    server = &served.server();
    RawQmp client = served.client();
    CHECK(client.ask(R"({"execute":"announce"})").contains("return"));
    CHECK(client.message()["event"] == "NEWS");
}

TEST_CASE("events of several threads all arrive, each thread's in order") {
    Served served;
    RawQmp client = served.client();
    constexpr int kEvents = 200;
    std::vector<std::jthread> threads;
    for (const char* name : {"A", "B", "C"}) {
        threads.emplace_back([&served, name] {
            for (int i = 0; i < kEvents; ++i) served.server().broadcast(name, i);
        });
    }
    std::map<std::string, int> next;
    bool in_order = true;
    for (int i = 0; i < 3 * kEvents; ++i) {
        const Json event = client.message();
        in_order = event["data"] == next[event["event"]]++ && in_order;
    }
    CHECK(in_order);
}

TEST_CASE("a client that does not read is dropped, and the others get every event") {
    Served served;
    RawQmp reads = served.client();
    RawQmp sleeps = served.client();
    constexpr std::size_t kEvents = 100;
    for (std::size_t i = 0; i < kEvents; ++i) {
        served.server().broadcast("BULK", kBulk);
        REQUIRE(reads.message()["event"] == "BULK");
    }
    CHECK(lines_until_closed(sleeps) < kEvents);
    CHECK(reads.ask(kEcho) == kEchoed);
}

TEST_CASE("events that pile up behind a slow command end the connections that missed one") {
    std::promise<void> begun;
    std::promise<void> may_end;
    Served served({{"slow", [&](const Json&) -> Result<Json> {
                        begun.set_value();
                        may_end.get_future().wait();
                        return Json::object();
                    }}});
    RawQmp client = served.client();
    client.write(R"({"execute":"slow"})");
    begun.get_future().wait();
    constexpr std::size_t kEvents = 100;
    for (std::size_t i = 0; i < kEvents; ++i) served.server().broadcast("BULK", kBulk);
    may_end.set_value();
    CHECK(lines_until_closed(client) < kEvents);
    CHECK(served.client().ask(kEcho) == kEchoed);
}

TEST_CASE("a client beyond the limit is refused, and served once another has gone") {
    const Served served;
    std::vector<RawQmp> clients;
    for (std::size_t i = 0; i < kMaxClients; ++i) clients.push_back(served.client());
    RawQmp surplus = RawQmp::connect(served.address());
    CHECK(surplus.message()["error"]["class"] == "GenericError");
    CHECK_FALSE(surplus.line());
    clients.pop_back();
    while (!RawQmp::connect(served.address()).message().contains("QMP")) {
    }
    CHECK(clients.front().ask(kEcho) == kEchoed);
}

TEST_CASE("an event that is sent just before the end arrives") {
    for (int i = 0; i < 20; ++i) {
        Served served;
        RawQmp client = served.client();
        served.server().broadcast("BULK", kBulk);
        served.server().broadcast("LAST", Json::object());
        served.end();
        CHECK(client.message()["event"] == "BULK");
        CHECK(client.message()["event"] == "LAST");
        CHECK_FALSE(client.line());
    }
}

TEST_CASE("a client that reads nothing cannot keep the server from ending") {
    Served served;
    RawQmp client = served.client();
    for (int i = 0; i < 10; ++i) served.server().broadcast("BULK", kBulk);
    served.end();
}

TEST_CASE("a client that sends without end cannot keep the server from ending") {
    Served served;
    RawQmp client = served.client();
    std::jthread sender([&](const std::stop_token& stop) {
        while (!stop.stop_requested()) client.write_some(kEcho);
    });
    served.end();
}

TEST_CASE("a server takes its socket file with it") {
    Served served;
    CHECK(std::filesystem::exists(served.path()));
    served.end();
    CHECK_FALSE(std::filesystem::exists(served.path()));
}

TEST_CASE("two servers cannot share a path") {
    const Served served;
    const auto second = Server::create(served.address(), {});
    REQUIRE_FALSE(second);
    CHECK(second.error().kind() == ErrorKind::kUsage);
    CHECK(served.client().ask(kEcho) == kEchoed);
}

}  // namespace
}  // namespace migrate::qmp
