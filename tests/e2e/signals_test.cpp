// SPDX-License-Identifier: Apache-2.0
// Signals at every stage, also while a call hangs, and those that must not end the program.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "base/wait.hpp"
#include "catch.hpp"
#include "e2e/transfer.hpp"
#include "tests/support/unix_socket.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using std::chrono::seconds;

struct NamedSignal {
    int number;
    const char* name;
};

NamedSignal each_signal() {
    return GENERATE(NamedSignal{SIGINT, "SIGINT"}, NamedSignal{SIGTERM, "SIGTERM"},
                    NamedSignal{SIGHUP, "SIGHUP"}, NamedSignal{SIGQUIT, "SIGQUIT"});
}

// Returns true if the process has a thread of that name.
bool has_thread(const Process& process, std::string_view name) {
    std::error_code failed;
    for (const auto& thread :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/task", process.pid()), failed)) {
        std::ifstream comm(thread.path() / "comm");
        std::string line;
        if (std::getline(comm, line) && line == name) return true;
    }
    return false;
}

// It takes signals, and is in a call that may block.
void await_blocking_call(Process& process) {
    REQUIRE(process.await(
        [&] { return has_thread(process, "signals") && has_thread(process, "blocking_call"); }));
}

void check_cancelled(Process& process, const std::string& name) {
    const int code = process.wait();
    INFO(process.both());
    CHECK(code > 0);
    CHECK(code < 128);
    CHECK_THAT(process.err(), Contains("migrate: cancelled: " + name + " received"));
}

TEST_CASE("a signal cancels a sender that fills its source", "[signals]") {
    const NamedSignal signal = each_signal();
    Process sender({"send", "--connect", "127.0.0.1:1", "--source", "anon:3G,fill=random"});
    await_blocking_call(sender);
    sender.signal(signal.number);
    check_cancelled(sender, signal.name);
}

TEST_CASE("a signal ends the warm-up of a guest", "[signals]") {
    const NamedSignal signal = each_signal();
    Process sender({"send", "--connect", "127.0.0.1:1", "--source", "workload:16M,warm-up=10s"});
    REQUIRE(sender.await([&] { return has_thread(sender, "vcpu_0"); }));
    sender.signal(signal.number);
    check_cancelled(sender, signal.name);
}

TEST_CASE("a signal cancels a receiver that waits for its sender", "[signals]") {
    const NamedSignal signal = each_signal();
    Receiver receiver({"--sink", "null:"});
    receiver->signal(signal.number);
    check_cancelled(receiver.process(), signal.name);
}

TEST_CASE("a signal at either side during the transfer cancels both", "[signals]") {
    const NamedSignal signal = each_signal();
    const bool at_sender = GENERATE(true, false);
    Receiver receiver({"--sink", "null:"});
    Process sender(send_arguments(receiver, "anon:64M,fill=random", {"--max-bandwidth", "1M"}));
    REQUIRE(receiver->await_text("connected:"));
    (at_sender ? sender : receiver.process()).signal(signal.number);
    for (Process* side : {&sender, &receiver.process()}) {
        CHECK(side->wait() < 128);
        CHECK_THAT(side->err(), Contains("migrate: cancelled:") && Contains(signal.name));
    }
}

TEST_CASE("a signal ends a guest that runs on after it arrived", "[signals]") {
    const NamedSignal signal = each_signal();
    Receiver receiver({"--sink", "anon:", "--run-for", "forever"});
    Process sender(send_arguments(receiver, "workload:16M,rate=10,warm-up=0"));
    REQUIRE(receiver->await_text("the guest runs on here"));
    CHECK(sender.wait() == 0);
    receiver->signal(signal.number);
    CHECK(receiver->wait() == 0);
    CHECK_THAT(receiver->err(), Contains(std::string(signal.name) + ": the guest ends here"));
    CHECK_THAT(receiver->out(), Contains("memory check: passed"));
}

TEST_CASE("a signal ends a journey there and back", "[signals]") {
    const NamedSignal signal = each_signal();
    Receiver receiver({"--sink", "anon:", "--repeat", "1000"});
    Process sender(
        send_arguments(receiver, "workload:32M,rate=10", {"--repeat", "1000", "--run-for", "1ms"}));
    REQUIRE(sender.await_text("leg 3"));
    sender.signal(signal.number);
    const int code = sender.wait();
    INFO(sender.both());
    CHECK(code > 0);
    CHECK(code < 128);
    CHECK_THAT(sender.err(), Contains(std::string(signal.name) + " received"));
    receiver->signal(SIGTERM);
    CHECK(receiver->wait() < 128);
}

TEST_CASE("under nohup a SIGHUP is ignored, and later signals are not", "[signals]") {
    Receiver receiver({"--sink", "null:"}, {.ignored = {SIGHUP}});
    receiver->signal(SIGHUP);
    receiver->signal(SIGTERM);
    check_cancelled(receiver.process(), "SIGTERM");
}

TEST_CASE("a file that must not grow further is an error and not the end by SIGXFSZ", "[signals]") {
    const TemporaryFolder folder;
    Receiver receiver({"--sink", folder / "copy.mem"}, {.largest_file = 1 << 20});
    Process sender(send_arguments(receiver, "anon:8M,fill=random"));
    CHECK(sender.wait() < 128);
    INFO(sender.both());
    CHECK_FALSE(receiver->ended_within(std::chrono::milliseconds(0)));
    receiver->signal(SIGTERM);
    CHECK(receiver->wait() < 128);
    CHECK_THAT(receiver->err(), Contains("File too large"));
    CHECK_THAT(sender.err(), Contains("File too large"));
    CHECK(folder.names().empty());
}

#ifdef MIGRATE_HUNG_CALLS

Surroundings with_hung_calls() {
    return {.environment = {std::string("LD_PRELOAD=") + MIGRATE_HUNG_CALLS}};
}

TEST_CASE("a signal cancels a side whose host name is not resolved", "[signals]") {
    const NamedSignal signal = each_signal();
    const bool at_sender = GENERATE(true, false);
    const std::vector<std::string> arguments =
        at_sender
            ? std::vector<std::string>{"send",     "--connect",         "hung.test:1", "--source",
                                       "anon:64K", "--connect-timeout", "600s"}
            : std::vector<std::string>{"recv",   "--listen", "hung.test:0",
                                       "--sink", "anon:",    "--handshake-timeout",
                                       "600s"};
    Process side(arguments, with_hung_calls());
    await_blocking_call(side);
    side.signal(signal.number);
    check_cancelled(side, signal.name);
}

TEST_CASE("a host name that is not resolved in time ends either side", "[signals]") {
    Process sender(
        {"send", "--connect", "hung.test:1", "--source", "anon:64K", "--connect-timeout", "200ms"},
        with_hung_calls());
    CHECK(sender.wait() > 0);
    CHECK_THAT(sender.err(), Contains("host name 'hung.test' was not resolved within 200 ms "
                                      "(connect-timeout)"));
    Process receiver(
        {"recv", "--listen", "hung.test:0", "--sink", "anon:", "--handshake-timeout", "200ms"},
        with_hung_calls());
    CHECK(receiver.wait() > 0);
    CHECK_THAT(receiver.err(), Contains("host name 'hung.test' was not resolved within 200 ms "
                                        "(handshake-timeout)"));
}

TEST_CASE("a receiver may prepare its memory for longer than handshake-timeout", "[signals]") {
    Surroundings slow = with_hung_calls();
    slow.environment.emplace_back("SLOW_MEMFD_MS=2500");
    for (const char* source : {"anon:2M,fill=random", "workload:2M,rate=1,warm-up=0"}) {
        INFO(source);
        Receiver receiver({"--sink", "memfd:", "--run-for", "50ms"}, slow);
        std::vector<std::string> options{"--handshake-timeout", "500ms", "--run-for", "50ms"};
        if (std::string_view(source).starts_with("anon")) options.resize(2);
        Process sender(send_arguments(receiver, source, options));
        CHECK(sender.wait() == 0);
        CHECK(receiver->wait() == 0);
        INFO(sender.both() << receiver->both());
    }
}

TEST_CASE("a signal cancels a side that opens a file which hangs", "[signals]") {
    const NamedSignal signal = each_signal();
    const TemporaryFolder folder;
    const std::string hung = folder / "hung.test";
    write_sparse_file(hung, 4, {1});
    const std::vector<std::vector<std::string>> sides{
        {"send", "--connect", "127.0.0.1:1", "--source", hung},
        {"send", "--connect", "127.0.0.1:1", "--source", "anon:64K", "--events", hung},
        {"recv", "--listen", "127.0.0.1:0", "--sink", "anon:", "--events", hung}};
    for (const auto& arguments : sides) {
        INFO(arguments.back());
        Process side(arguments, with_hung_calls());
        await_blocking_call(side);
        side.signal(signal.number);
        check_cancelled(side, signal.name);
    }
}

TEST_CASE("a second signal leaves at once, whatever the session is blocked in", "[signals]") {
    const TemporaryFolder folder;
    Receiver receiver({"--sink", folder / "hung.test.mem"}, with_hung_calls());
    Process sender(send_arguments(receiver, "anon:1M,fill=random"));
    // The session is in renameat() when everything is there.
    REQUIRE(receiver->await_text("connected:"));
    CHECK_FALSE(receiver->ended_within(seconds(1)));
    receiver->signal(SIGINT);
    CHECK_FALSE(receiver->ended_within(std::chrono::milliseconds(500)));
    // A hang-up after it is no second Ctrl-C.
    receiver->signal(SIGHUP);
    CHECK_FALSE(receiver->ended_within(std::chrono::milliseconds(500)));
    receiver->signal(SIGINT);
    CHECK(receiver->wait(seconds(20)) < 128);
    CHECK_THAT(receiver->err(), Contains("SIGINT again: leaving at once"));
    sender.wait();
}

#endif

TEST_CASE("a signal cancels a side whose QEMU does not answer", "[signals]") {
    const NamedSignal signal = each_signal();
    const bool at_sender = GENERATE(true, false);
    const TemporaryFolder folder;
    const std::string path = folder / "qmp";
    const UniqueFd listener = listening_unix_socket(path, 1);
    Process side(at_sender ? std::vector<std::string>{"send", "--connect", "127.0.0.1:1",
                                                      "--source", "qemu:" + path}
                           : std::vector<std::string>{"recv", "--listen", "127.0.0.1:0", "--sink",
                                                      "qemu:" + path});
    REQUIRE(readable_within(listener.get(), kDeadline));
    side.signal(signal.number);
    check_cancelled(side, signal.name);
}

TEST_CASE("a FIFO as a source is refused and not waited for", "[signals]") {
    const TemporaryFolder folder;
    REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
    Process sender({"send", "--connect", "127.0.0.1:1", "--source", folder / "fifo"});
    CHECK(sender.wait() == 2);
    CHECK_THAT(sender.err(), Contains("a FIFO, not a regular file"));
}

TEST_CASE("a signal cancels a side whose device stream is a FIFO without a peer", "[signals]") {
    const NamedSignal signal = each_signal();
    const TemporaryFolder folder;
    REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
    write_file(folder / "state", "");
    Receiver receiver({"--sink", "null:", "--devices", "file:net=" + (folder / "state")});
    Process sender(
        send_arguments(receiver, "anon:1M", {"--devices", "file:net=" + (folder / "fifo")}));
    REQUIRE(receiver->await_text("connected:"));
    sender.signal(signal.number);
    CHECK(sender.wait() < 128);
    CHECK_THAT(sender.err(), Contains("migrate: cancelled: " + std::string(signal.name)));
    CHECK(receiver->wait() < 128);
}

TEST_CASE("a device's FIFO without a reader is an error at the receiver", "[signals]") {
    const TemporaryFolder folder;
    REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
    write_file(folder / "state", "of the net");
    Receiver receiver({"--sink", "null:", "--devices", "file:net=" + (folder / "fifo"),
                       "--listen-timeout", "5s"});
    Process sender(
        send_arguments(receiver, "anon:1M", {"--devices", "file:net=" + (folder / "state")}));
    CHECK(sender.wait() > 0);
    INFO(sender.both() << receiver->both());
    CHECK_THAT(sender.err(), Contains("no process has this FIFO open for reading"));
    receiver->signal(SIGINT);
    receiver->wait();
}

}  // namespace
}  // namespace migrate::e2e
