// SPDX-License-Identifier: Apache-2.0
#include "qmp/dispatcher.hpp"

#include <algorithm>
#include <stdexcept>

#include "base/version.hpp"
#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::qmp {
namespace {

const Json kNothingReturned = Json::parse(R"({"return":{}})");

std::map<std::string, Command> some_commands() {
    return {
        {"echo", [](const Json& arguments) -> Result<Json> { return arguments; }},
        {"fail", [](const Json&) -> Result<Json> { return make_error("it \"failed\"\xFF"); }},
        {"throw",
         [](const Json&) -> Result<Json> { throw std::runtime_error("thrown by a command"); }},
        {"misuse", [](const Json& arguments) -> Result<Json> { return arguments.at("missing"); }},
    };
}

class Peer {
  public:
    explicit Peer(bool negotiated = true) { session_.negotiated = negotiated; }

    Json ask(const std::string& request) {
        return dispatcher_.answer(Json::parse(request), session_);
    }
    std::string error_class(const std::string& request) {
        const Json answer = ask(request);
        INFO(to_line(answer));
        REQUIRE(answer.contains("error"));
        CHECK(answer["error"].size() == 2);
        CHECK_FALSE(answer["error"]["desc"].get<std::string>().empty());
        return answer["error"]["class"];
    }
    const Dispatcher& dispatcher() const { return dispatcher_; }
    Session& session() { return session_; }

  private:
    Dispatcher dispatcher_ = must(Dispatcher::create(some_commands()));
    Session session_;
};

TEST_CASE("the greeting says who serves, and offers no capability") {
    const Json greeting = Dispatcher::greeting();
    const Json version = greeting.at("QMP").at("version");
    CHECK(version.at("package") == std::string("migrate ") + kVersion);
    const auto part = [&](const char* name) {
        return std::to_string(version.at("qemu").at(name).get<unsigned>());
    };
    CHECK(part("major") + "." + part("minor") + "." + part("micro") == kVersion);
    CHECK(greeting["QMP"].at("capabilities") == Json::array());
}

TEST_CASE("nothing but qmp_capabilities is carried out before negotiation") {
    Peer peer(false);
    for (const char* name : {"echo", "query-version", "no-such-command"})
        CHECK(peer.error_class(R"({"execute":")" + std::string(name) + "\"}") == "CommandNotFound");
    CHECK(peer.error_class(R"({"execute":"qmp_capabilities","arguments":{"enable":["oob"]}})") ==
          "GenericError");
    CHECK_FALSE(peer.session().negotiated);
    CHECK(peer.ask(R"({"execute":"qmp_capabilities","arguments":{"enable":[]}})") ==
          kNothingReturned);
    CHECK(peer.ask(R"({"execute":"echo"})") == kNothingReturned);
    CHECK(peer.error_class(R"({"execute":"qmp_capabilities"})") == "CommandNotFound");
}

TEST_CASE("a command gets its arguments, and its value is returned") {
    Peer peer;
    CHECK(peer.ask(R"({"execute":"echo","arguments":{"b":1,"a":[true,null]}})").dump() ==
          R"({"return":{"b":1,"a":[true,null]}})");
}

TEST_CASE("an id of any type comes back, with results and with errors") {
    Peer peer;
    for (const char* id : {"1", "\"one\"", "null", "[1,{}]", R"({"b":1,"a":2})", "1.5"}) {
        const std::string member = R"(,"id":)" + std::string(id) + "}";
        for (const char* request : {R"({"execute":"echo")", R"({"execute":"fail")",
                                    R"({"execute":"none")", R"({"execute":7)", R"({"x":1)"}) {
            const Json answer = peer.ask(request + member);
            CHECK(answer.size() == 2);
            CHECK(answer.at("id").dump() == id);
        }
    }
    CHECK_FALSE(peer.ask(R"({"execute":"echo"})").contains("id"));
}

TEST_CASE("a command that fails or throws is a GenericError") {
    Peer peer;
    for (const char* name : {"fail", "throw", "misuse"})
        CHECK(peer.error_class(R"({"execute":")" + std::string(name) + "\"}") == "GenericError");
    CHECK(peer.ask(R"({"execute":"throw"})")["error"]["desc"] ==
          "the command failed: thrown by a command");
}

TEST_CASE("a request of the wrong form is a GenericError") {
    Peer peer;
    for (const char* request :
         {"[]", "{}", R"({"execute":1})", R"({"execute":"echo","arguments":[]})",
          R"({"execute":"echo","arguments":null})", R"({"execute":"echo","surplus":1})",
          R"({"exec-oob":"echo"})", R"({"execute":"query-version","arguments":{"x":1}})"}) {
        INFO(request);
        CHECK(peer.error_class(request) == "GenericError");
    }
}

TEST_CASE("an unknown command is CommandNotFound and named") {
    Peer peer;
    CHECK(peer.error_class(R"({"execute":"no-such"})") == "CommandNotFound");
    CHECK(peer.ask(R"({"execute":"no-such"})")["error"]["desc"] ==
          "The command no-such has not been found");
}

TEST_CASE("an unreadable request is answered without an id") {
    Peer peer;
    const Json answer =
        peer.dispatcher().answer(Error(ErrorKind::kProtocol, "unreadable"), peer.session());
    CHECK(answer.dump() == R"({"error":{"class":"GenericError","desc":"unreadable"}})");
}

TEST_CASE("query-commands lists every command, and query-version repeats the greeting's") {
    Peer peer;
    const Json listed = peer.ask(R"({"execute":"query-commands"})").at("return");
    std::vector<std::string> names;
    for (const Json& command : listed) names.push_back(command.at("name"));
    std::sort(names.begin(), names.end());
    CHECK(names == std::vector<std::string>{"echo", "fail", "misuse", "qmp_capabilities",
                                            "query-commands", "query-version", "throw"});
    CHECK(peer.ask(R"({"execute":"query-version"})").at("return") ==
          Dispatcher::greeting()["QMP"]["version"]);
}

TEST_CASE("the dispatcher's own commands cannot be replaced") {
    auto commands = some_commands();
    commands["query-version"] = commands["echo"];
    CHECK(message_of(Dispatcher::create(commands)).find("query-version") != std::string::npos);
}

TEST_CASE("a line is ASCII, whatever a command puts into it") {
    Peer peer;
    const std::string line = to_line(peer.ask(R"({"execute":"fail"})"));
    CHECK(line == R"({"error":{"class":"GenericError","desc":"it \"failed\"\ufffd"}})"
                  "\n");
}

TEST_CASE("an event carries its data and the time in seconds and microseconds") {
    const Json event = make_event("MIGRATION", {{"status", "active"}});
    CHECK(event.at("event") == "MIGRATION");
    CHECK(event.at("data").dump() == R"({"status":"active"})");
    CHECK(event.at("timestamp").at("seconds").get<std::int64_t>() > 0);
    CHECK(event.at("timestamp").at("microseconds").get<std::int64_t>() < 1'000'000);
}

}  // namespace
}  // namespace migrate::qmp
