// SPDX-License-Identifier: Apache-2.0
// Outputs that nobody reads, that are closed or full: none of them stops a migration.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <vector>

#include "base/wait.hpp"
#include "catch.hpp"
#include "e2e/live_run.hpp"
#include "e2e/transfer.hpp"
#include "tests/support/loopback.hpp"
#include "tests/support/pipe.hpp"
#include "tests/support/unix_socket.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using std::chrono::seconds;

// A pipe that takes nothing more: its reader is there and does not read.
class FullPipe {
  public:
    FullPipe() { pipe_.fill(); }
    int fd() const { return pipe_.writer.get(); }
    // Returns all that comes out of it once its writers are gone.
    std::string read_all() { return pipe_.read_all(); }

  private:
    Pipe pipe_;
};

std::uint16_t await_port(Process& receiver, const std::string& port_file) {
    REQUIRE(receiver.await([&] { return !read_file(port_file).empty(); }));
    return static_cast<std::uint16_t>(std::stoul(read_file(port_file)));
}

// A running guest moves between two sides with these outputs, and both end as they should.
void check_migrates(const Surroundings& outputs) {
    const TemporaryFolder folder;
    std::vector<std::string> more{"--progress", "on", "--log-level", "debug", "--run-for", "10ms"};
    std::vector<std::string> recv{"recv",         "--listen", "127.0.0.1:0",        "--sink",
                                  "anon:",        "--stats",  folder / "recv.json", "--port-file",
                                  folder / "port"};
    recv.insert(recv.end(), more.begin(), more.end());
    Process receiver(recv, outputs);
    const std::string endpoint = fmt::format("127.0.0.1:{}", await_port(receiver, folder / "port"));
    more.insert(more.end(), {"--stats", folder / "send.json", "--max-bandwidth", "30M/s"});
    const auto start = std::chrono::steady_clock::now();
    Process sender(send_arguments(endpoint, "workload:64M,rate=5,warm-up=0", more), outputs);
    CHECK(sender.wait() == 0);
    CHECK(receiver.wait() == 0);
    // Some two seconds, and at most one more at the end.
    CHECK(std::chrono::steady_clock::now() - start < seconds(30));
    CHECK(read_stats(folder / "send.json")["status"] == "completed");
    CHECK(read_stats(folder / "recv.json")["guest"]["check"] == "passed");
}

TEST_CASE("pipes without a reader do not stop a migration", "[output][part-1]") {
    const FullPipe out;
    const FullPipe err;
    check_migrates({.out = out.fd(), .err = err.fd()});
}

TEST_CASE("one pipe without a reader for both outputs does not stop a migration",
          "[output][part-1]") {
    const FullPipe both;
    check_migrates({.out = both.fd(), .err = both.fd()});
}

TEST_CASE("a full disk as the output does not stop a migration", "[output][part-1]") {
    const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
    REQUIRE(full);
    check_migrates({.out = full.get(), .err = full.get()});
}

TEST_CASE("pipes whose reader went away do not stop a migration", "[output]") {
    Pipe pipe;
    pipe.reader.reset();
    check_migrates({.out = pipe.writer.get(), .err = pipe.writer.get()});
}

TEST_CASE("a non-blocking pipe without a reader does not stop a migration", "[output]") {
    const FullPipe err;
    REQUIRE(::fcntl(err.fd(), F_SETFL, O_NONBLOCK) == 0);
    check_migrates({.out = err.fd(), .err = err.fd()});
}

TEST_CASE("unread lines about unknown peers do not stop the listener", "[output]") {
    const TemporaryFolder folder;
    FullPipe err;
    Process receiver(
        {"recv", "--listen", "127.0.0.1:0", "--sink", "null:", "--port-file", folder / "port"},
        {.err = err.fd()});
    const std::uint16_t port = await_port(receiver, folder / "port");
    constexpr int kStrangers = 5000;  // 400 KB of warnings, more than the queue holds
    for (int i = 0; i < kStrangers; ++i) {
        const UniqueFd stranger(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(connect_to_loopback(stranger.get(), port));
        (void)!::send(stranger.get(), "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL);
    }
    Process sender(send_arguments(fmt::format("127.0.0.1:{}", port), "anon:4M,fill=random", {}));
    CHECK(sender.wait() == 0);
    INFO(sender.both());
    // Read before it ends, it says how much was dropped.
    const std::string text = err.read_all();
    CHECK(receiver.wait() == 0);
    CHECK_THAT(text,
               Contains("not a sender") && Contains(" messages were dropped: standard error"));
}

TEST_CASE("a QMP client that asks and does not read stops neither side", "[output]") {
    const TemporaryFolder folder;
    Receiver receiver(
        {"--sink", "anon:", "--run-for", "10ms", "--qmp", "unix:" + (folder / "recv.qmp")});
    Process sender(
        send_arguments(receiver, "workload:64M,rate=5,warm-up=0",
                       {"--max-bandwidth", "30M/s", "--qmp", "unix:" + (folder / "send.qmp")}));
    std::vector<UniqueFd> clients;
    for (const std::string side : {"recv", "send"}) {
        UniqueFd client;
        REQUIRE(sender.await([&] {
            client = connect_unix_socket(folder / (side + ".qmp"));
            return bool(client);
        }));
        std::string requests = R"({"execute":"qmp_capabilities"})";
        for (int i = 0; i < 2000; ++i) requests += R"({"execute":"query-migrate"})";
        (void)!::send(client.get(), requests.data(), requests.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        clients.push_back(std::move(client));
    }
    CHECK(sender.wait() == 0);
    CHECK(receiver->wait() == 0);
}

// The arguments of a sender that finds no receiver.
const std::vector<std::string> kNowhere{"send",     "--connect",         "127.0.0.1:1", "--source",
                                        "anon:64K", "--connect-timeout", "100ms"};

TEST_CASE("a program whose output is not read ends within a second", "[output]") {
    const FullPipe out;
    const FullPipe err;
    const auto start = std::chrono::steady_clock::now();
    Process sender(kNowhere, {.out = out.fd(), .err = err.fd()});
    CHECK(sender.wait() == 1);
    CHECK(std::chrono::steady_clock::now() - start < seconds(10));
}

TEST_CASE("a program's last line reaches a reader that comes late", "[output]") {
    FullPipe out;
    std::vector<std::string> verbose = kNowhere;
    verbose.emplace_back("--verbose");
    Process sender(verbose, {.out = out.fd()});
    REQUIRE(sender.await_text("cannot connect"));
    CHECK_THAT(out.read_all(), Contains("Migration status: failed"));
    CHECK(sender.wait() == 1);
}

unsigned mode_of(const std::string& path) {
    struct stat status {};
    REQUIRE(::lstat(path.c_str(), &status) == 0);
    return status.st_mode & 07777U;
}

TEST_CASE("every file and socket that a migration creates is private", "[output]") {
    const TemporaryFolder folder;
    const mode_t before = ::umask(0);
    Receiver receiver({"--sink", "file:" + (folder / "copy"), "--stats", folder / "recv.json",
                       "--events", folder / "recv.events", "--port-file", folder / "port"});
    Process sender(
        send_arguments(receiver, "anon:64K",
                       {"--stats", folder / "send.json", "--events", folder / "send.events",
                        "--qmp", "unix:" + (folder / "qmp"), "--max-bandwidth", "20K/s"}));
    ::umask(before);
    REQUIRE(sender.await([&] { return std::filesystem::exists(folder / "qmp"); }));
    CHECK(mode_of(folder / "qmp") == 0600U);
    CHECK(mode_of(folder / "port") == 0600U);
    // A receiver that has not accepted this sender yet would wait for the next one.
    REQUIRE(receiver->await_text("connected:"));
    sender.signal(SIGINT);
    sender.wait();
    receiver->wait();
    Receiver next({"--sink", "file:" + (folder / "copy")});
    CHECK(Process(send_arguments(next, "anon:64K")).wait() == 0);
    CHECK(next->wait() == 0);
    for (const char* name : {"copy", "recv.json", "recv.events", "send.json", "send.events"}) {
        INFO(name);
        CHECK(mode_of(folder / name) == 0600U);
    }
}

}  // namespace
}  // namespace migrate::e2e
