// SPDX-License-Identifier: Apache-2.0
#include "engine/report/events.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "base/fd.hpp"
#include "base/wait.hpp"
#include "catch.hpp"
#include "tests/support/file_size_limit.hpp"
#include "tests/support/ignored_signal.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::engine {
namespace {

std::vector<nlohmann::ordered_json> lines_of(const std::string& path) {
    std::vector<nlohmann::ordered_json> lines;
    std::istringstream text(read_file(path));
    for (std::string line; std::getline(text, line);) {
        lines.push_back(nlohmann::ordered_json::parse(line));
    }
    return lines;
}

std::vector<std::string> keys_of(const nlohmann::ordered_json& object) {
    std::vector<std::string> keys;
    for (const auto& item : object.items()) keys.push_back(item.key());
    return keys;
}

TEST_CASE("an event is a line with its name, its data in order and its time") {
    const TemporaryFolder folder;
    const auto log = must(EventLog::open(folder / "events"));
    log->emit("MIGRATION", {{"status", std::string("active")}, {"round", std::uint64_t{1}}});
    log->emit("STOP", {});
    REQUIRE(log->flush());
    const std::string text = read_file(folder / "events");
    CHECK(text.ends_with('\n'));
    CHECK(text.starts_with(R"({"event":"MIGRATION","data":{"status":"active","round":1},)"
                           R"("timestamp":{"seconds":)"));
    const auto lines = lines_of(folder / "events");
    REQUIRE(lines.size() == 2);
    CHECK(lines[1]["event"] == "STOP");
    CHECK(lines[1]["data"] == nlohmann::ordered_json::object());
    for (const auto& line : lines) {
        CHECK(keys_of(line) == std::vector<std::string>{"event", "data", "timestamp"});
        CHECK(keys_of(line["timestamp"]) == std::vector<std::string>{"seconds", "microseconds"});
        CHECK(line["timestamp"]["seconds"].is_number_unsigned());
        CHECK(line["timestamp"]["microseconds"] < 1'000'000);
    }
}

TEST_CASE("numbers keep all their digits, and text that needs it is escaped or mended") {
    const TemporaryFolder folder;
    const auto log = must(EventLog::open(folder / "events"));
    log->emit("STOP", {{"largest", ~std::uint64_t{0}},
                       {"line", std::string("a\n\"b\"")},
                       {"broken", std::string("\xFF!")}});
    REQUIRE(log->flush());
    const auto lines = lines_of(folder / "events");
    REQUIRE(lines.size() == 1);
    CHECK(lines[0]["data"]["largest"] == ~std::uint64_t{0});
    CHECK(lines[0]["data"]["line"] == "a\n\"b\"");
    CHECK(lines[0]["data"]["broken"] == "\uFFFD!");
}

TEST_CASE("an events file begins empty") {
    const TemporaryFolder folder;
    write_file(folder / "events", "of the run before\n");
    const auto log = must(EventLog::open(folder / "events"));
    CHECK(read_file(folder / "events").empty());
}

TEST_CASE("an events file that cannot be opened is wrong usage, by its name") {
    const TemporaryFolder folder;
    for (const std::string& path : {folder / "no such folder/events", folder.path()}) {
        const auto log = EventLog::open(path);
        REQUIRE_FALSE(log);
        CHECK(log.error().kind() == ErrorKind::kUsage);
        CHECK(message_of(log).find(path) != std::string::npos);
    }
}

TEST_CASE("a log to nowhere takes events") {
    EventLog log;
    log.emit("STOP", {{"key", std::string("value")}});
}

TEST_CASE("threads write whole lines") {
    constexpr unsigned kThreads = 4;
    constexpr unsigned kEach = 100;
    const TemporaryFolder folder;
    const auto log = must(EventLog::open(folder / "events"));
    {
        std::vector<std::jthread> threads;
        for (unsigned i = 0; i < kThreads; ++i) {
            threads.emplace_back([&log, i] {
                for (unsigned j = 0; j < kEach; ++j)
                    log->emit("STOP", {{"n", i * kEach + j + 0ULL}});
            });
        }
    }
    REQUIRE(log->flush());
    std::vector<bool> seen(std::size_t{kThreads} * kEach);
    for (const auto& line : lines_of(folder / "events")) seen.at(line["data"]["n"]) = true;
    CHECK(seen == std::vector<bool>(seen.size(), true));
}

TEST_CASE("a full disk costs events and nothing else") {
    const auto log = must(EventLog::open("/dev/full"));
    for (int i = 0; i < 3; ++i) log->emit("STOP", {});
}

TEST_CASE("an events file that takes nothing holds up neither emit() nor, for long, the end") {
    const TemporaryFolder folder;
    const std::string path = folder / "fifo";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    // Somebody has it open, and does not read.
    const UniqueFd reader(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    REQUIRE(reader);
    auto log = must(EventLog::open(path));
    const std::string filler(1000, 'x');
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 5000; ++i) log->emit("STOP", {{"filler", filler}});
    log.reset();
    const auto time = std::chrono::steady_clock::now() - start;
    CHECK(time < std::chrono::seconds(10));
    // The text that was written before the pipe was full consists of whole lines.
    std::string text(1 << 20, '\0');
    const ssize_t size = ::read(reader.get(), text.data(), text.size());
    REQUIRE(size > 0);
    CHECK(text.starts_with(R"({"event":"STOP")"));
}

TEST_CASE("events that a file had no room for are counted by an event") {
    const TemporaryFolder folder;
    const std::string path = folder / "fifo";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    const UniqueFd reader(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    auto log = must(EventLog::open(path));
    const std::string filler(1000, 'x');
    constexpr std::uint64_t kEvents = 5000;
    for (std::uint64_t i = 0; i < kEvents; ++i) log->emit("STOP", {{"filler", filler}});
    std::string text;
    std::jthread end([&] { log->flush(); });
    std::string piece(65536, '\0');
    while (text.find("EVENTS_DROPPED") == std::string::npos || !text.ends_with('\n')) {
        REQUIRE(readable_within(reader.get(), std::chrono::seconds(60)));
        const ssize_t size = ::read(reader.get(), piece.data(), piece.size());
        REQUIRE(size > 0);
        text.append(piece, 0, static_cast<std::size_t>(size));
    }
    std::uint64_t counted = 0;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        const auto event = nlohmann::ordered_json::parse(line);
        if (event["event"] == "EVENTS_DROPPED") {
            CHECK(keys_of(event["data"]) == std::vector<std::string>{"count"});
        }
        counted += event["event"] == "STOP" ? 1 : event["data"]["count"].get<std::uint64_t>();
    }
    CHECK(counted == kEvents);
}

TEST_CASE("a write that fails ends the log, also if later ones could succeed") {
    const TemporaryFolder folder;
    const auto log = must(EventLog::open(folder / "events"));
    log->emit("STOP", {});
    REQUIRE(log->flush());
    const std::string before = read_file(folder / "events");
    {
        // With room for a part of the line, which must not stay.
        const IgnoredSignal ignored(SIGXFSZ);
        const FileSizeLimit full(before.size() + 10);
        log->emit("RESUME", {});
        REQUIRE(log->flush());
    }
    log->emit("STOP", {});
    REQUIRE(log->flush());
    CHECK(read_file(folder / "events") == before);
}

TEST_CASE("the last MIGRATION event has the outcome, its reason and who has the guest") {
    const TemporaryFolder folder;
    const auto log = must(EventLog::open(folder / "events"));
    emit_end(*log, Status(), GuestOwner::kDestination);
    emit_end(*log, Error(ErrorKind::kNotConverged, "it writes too fast"), GuestOwner::kSource);
    emit_end(*log, Error(ErrorKind::kCancelled, "SIGINT"), GuestOwner::kNone);
    emit_end(*log, Error(ErrorKind::kOwnerUnknown, "no answer"), GuestOwner::kUnknown);
    REQUIRE(log->flush());
    const auto lines = lines_of(folder / "events");
    REQUIRE(lines.size() == 4);
    const auto check = [&](std::size_t line, const char* data) {
        CHECK(lines[line]["event"] == "MIGRATION");
        CHECK(lines[line]["data"].dump() == data);
    };
    check(0, R"({"status":"completed","outcome":"completed","guest-owner":"destination"})");
    check(1, R"({"status":"failed","outcome":"not-converged","reason":"it writes too fast",)"
             R"("guest-owner":"source"})");
    check(2, R"({"status":"cancelled","outcome":"cancelled","reason":"SIGINT",)"
             R"("guest-owner":"none"})");
    check(3, R"({"status":"failed","outcome":"owner-unknown","reason":"no answer",)"
             R"("guest-owner":"unknown"})");
}

}  // namespace
}  // namespace migrate::engine
