// SPDX-License-Identifier: Apache-2.0
#include "qmp/message_stream.hpp"

#include <vector>

#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::qmp {
namespace {

constexpr MessageStream::Limits kLimits{1000, 8};

// Returns the messages of the text, fed in pieces of that size; an error as its message.
std::vector<std::string> read(std::string_view text, std::size_t piece = 1000,
                              MessageStream::Limits limits = kLimits) {
    MessageStream stream(limits);
    std::vector<std::string> found;
    for (std::size_t at = 0; at < text.size(); at += piece) {
        stream.feed(text.substr(at, piece));
        while (const auto message = stream.next())
            found.push_back(*message ? (*message)->dump() : message->error().message());
    }
    return found;
}

bool is_error(const std::string& found) { return found.find("JSON parse error") == 0; }

const std::string kHello = R"({"hello":"world"})";

TEST_CASE("messages come out alike however the stream was cut") {
    const std::string text = R"({"a":1}{"b":[{"c":"}{\"\\"}]}  [2,3])"
                             "\n{\n \"d\" :\r\n\ttrue }\nnonsense {\n{\"e\":}{'f':'\"'}";
    const auto whole = read(text);
    REQUIRE(whole.size() == 7);
    CHECK(whole[0] == R"({"a":1})");
    CHECK(whole[1] == R"({"b":[{"c":"}{\"\\"}]})");
    CHECK(whole[2] == "[2,3]");
    CHECK(whole[3] == R"({"d":true})");
    CHECK(is_error(whole[4]));
    CHECK(is_error(whole[5]));
    CHECK(whole[6] == R"({"f":"\""})");
    for (std::size_t piece = 1; piece <= text.size(); ++piece) CHECK(read(text, piece) == whole);
}

TEST_CASE("a message needs no newline behind it") { CHECK(read(kHello) == std::vector{kHello}); }

TEST_CASE("an incomplete message is reported as such") {
    MessageStream stream(kLimits);
    stream.feed(" \n");
    CHECK_FALSE(stream.next());
    CHECK_FALSE(stream.in_message());
    stream.feed(R"({"a")");
    CHECK_FALSE(stream.next());
    CHECK(stream.in_message());
    stream.feed(":1}");
    CHECK(stream.next());
    CHECK_FALSE(stream.in_message());
}

TEST_CASE("single quotes are taken, as QEMU does") {
    CHECK(read(R"({'a':'say "x"', "b":"it\'s", 'c':'it\'s'})") ==
          std::vector<std::string>{R"({"a":"say \"x\"","b":"it's","c":"it's"})"});
}

TEST_CASE("after an error the stream is read again from the next line on") {
    for (const char* wrong : {"hello", "123", "\"text\"", "}", "{]", "[}", "{\"a\":\"b", "{\"a\\",
                              "{\"a\":\x80", "{\"a\":\x01 rest", "GET / HTTP/1.1"}) {
        INFO(wrong);
        const auto found = read(wrong + ("\n" + kHello));
        REQUIRE(found.size() >= 2);
        CHECK(is_error(found.front()));
        CHECK(found.back() == kHello);
    }
}

TEST_CASE("a balanced text that is not JSON fails alone") {
    for (const char* wrong : {"{x}", "{\"a\" 1}", "{\"a\":1,}", "[1 2]", "{\"a\":\"\\x\"}",
                              "{\"a\":\"\xC3(\"}", "{\"a\":1e999}", "{\"a\":%s}"}) {
        INFO(wrong);
        const auto found = read(wrong + kHello);
        REQUIRE(found.size() == 2);
        CHECK(is_error(found[0]));
        CHECK(found[1] == kHello);
    }
}

TEST_CASE("an object with a key twice is refused by the key's name, as QEMU does") {
    const auto found = read(R"({"execute":"migrate_cancel","execute":"query-status"})" + kHello);
    REQUIRE(found.size() == 2);
    CHECK(found[0] == "JSON parse error, duplicate key 'execute'");
    CHECK(found[1] == kHello);
    CHECK(read(R"({"a":{"b":1},"b":[{"b":1},{"b":2}]})").size() == 1);
    CHECK(is_error(read(R"({"a":{"b":1,"c":{},"b":2}})").front()));
}

TEST_CASE("a brace left open is ended by the byte 0xFF") {
    const auto found = read(R"({"a":{"b":1})"
                            "\n\xFF" +
                            kHello);
    REQUIRE(found.size() == 2);
    CHECK(is_error(found[0]));
    CHECK(found[1] == kHello);
}

TEST_CASE("a message of exactly the longest size is taken, and one byte more is not") {
    const std::string longest = "[\"" + std::string(996, 'x') + "\"]";
    CHECK(read(longest) == std::vector{longest});
    const auto found = read("[\"" + std::string(997, 'x') + "\"]\n" + kHello);
    REQUIRE(found.size() == 2);
    CHECK(found[0].find("1000 bytes") != std::string::npos);
    CHECK(found[1] == kHello);
}

TEST_CASE("nesting ends at the limit") {
    const std::string deepest = std::string(8, '[') + std::string(8, ']');
    CHECK(read(deepest) == std::vector{deepest});
    const auto found = read(std::string(100, '[') + "\n" + kHello);
    REQUIRE(found.size() == 2);
    CHECK(found[0].find("8 levels") != std::string::npos);
    CHECK(found[1] == kHello);
}

}  // namespace
}  // namespace migrate::qmp
