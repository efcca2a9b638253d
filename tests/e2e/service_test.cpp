// SPDX-License-Identifier: Apache-2.0
// A receiver that a service manager started, with the socket on which it listens.
#include <sys/socket.h>

#include <array>
#include <regex>

#include "catch.hpp"
#include "e2e/test_image.hpp"
#include "e2e/transfer.hpp"
#include "tests/support/loopback.hpp"
#include "tests/support/unix_socket.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;

constexpr int kFirstPassed = 3;  // sd_listen_fds(3)

// Starts `migrate recv` as a service manager does: descriptor 3 is `passed`, and the shell knows
// the process id that the program keeps.
Process start_service(int passed, const std::string& count,
                      const std::vector<std::string>& arguments,
                      const std::vector<std::string>& environment = {}) {
    std::vector<std::string> words{
        "-c",           "LISTEN_PID=$$ LISTEN_FDS=" + count + " exec \"$0\" \"$@\"",
        MIGRATE_BINARY, "recv",
        "--listen",     "systemd"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    Surroundings surroundings;
    if (passed >= 0) {
        surroundings.descriptors = {{passed, kFirstPassed}};
    } else {
        surroundings.closed = {kFirstPassed};
    }
    surroundings.environment = environment;
    return Process("/bin/sh", words, surroundings);
}

// Everything that arrived at the socket.
std::string read_messages(int fd) {
    std::string all;
    std::array<char, 4096> buffer{};
    while (true) {
        const ssize_t size = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (size <= 0) return all;
        all.append(buffer.data(), static_cast<std::size_t>(size)).append("\n");
    }
}

TEST_CASE("a receiver listens on the socket that the service manager passed, and reports to it") {
    const TemporaryFolder folder;
    make_image(folder / "image", 4, 7);
    const UniqueFd listener = loopback_socket(0, true);
    const UniqueFd manager = bound_unix_socket(folder / "notify", SOCK_DGRAM);
    Process receiver = start_service(listener.get(), "1", {"--sink", "file:" + folder / "copy"},
                                     {"NOTIFY_SOCKET=" + folder / "notify"});
    REQUIRE(receiver.await_text("listening on 127.0.0.1:"));
    const std::string endpoint = "127.0.0.1:" + std::to_string(port_of(listener.get()));
    CHECK_THAT(receiver.both(), Contains("listening on " + endpoint));
    Process sender(send_arguments(endpoint, "file:" + folder / "image", {}));
    CHECK(sender.wait() == 0);
    CHECK(receiver.wait() == 0);
    CHECK(same_content(folder / "copy", folder / "image"));
    const std::string told = read_messages(manager.get());
    CHECK_THAT(told, Contains("READY=1\nSTATUS=waiting for a sender on " + endpoint));
    CHECK_THAT(told, Contains("STOPPING=1\nSTATUS=completed"));
}

TEST_CASE("both sides tell the service manager how far they are", "[live]") {
    const TemporaryFolder folder;
    const UniqueFd listener = loopback_socket(0, true);
    const UniqueFd receivers = bound_unix_socket(folder / "recv", SOCK_DGRAM);
    const UniqueFd senders = bound_unix_socket(folder / "send", SOCK_DGRAM);
    Process receiver = start_service(listener.get(), "1", {"--sink", "null:"},
                                     {"NOTIFY_SOCKET=" + folder / "recv"});
    REQUIRE(receiver.await_text("listening on 127.0.0.1:"));
    const std::string endpoint = "127.0.0.1:" + std::to_string(port_of(listener.get()));
    Surroundings surroundings;
    surroundings.environment = {"NOTIFY_SOCKET=" + folder / "send"};
    Process sender(send_arguments(endpoint, "anon:16M,fill=random", {"--max-bandwidth", "8M/s"}),
                   surroundings);
    CHECK(sender.wait() == 0);
    CHECK(receiver.wait() == 0);
    const std::regex progress("STATUS=active, [0-9]+ %, [0-9.]+ MiB/s, 0:0[0-9] left\n");
    for (const UniqueFd* manager : {&receivers, &senders}) {
        const std::string told = read_messages(manager->get());
        INFO(told);
        CHECK_THAT(told, Contains("READY=1\n") && Contains("STOPPING=1\nSTATUS=completed\n"));
        CHECK(std::regex_search(told, progress));
    }
}

TEST_CASE("a receiver whose migration fails tells the service manager why") {
    const TemporaryFolder folder;
    const UniqueFd listener = loopback_socket(0, true);
    const UniqueFd manager = bound_unix_socket(folder / "notify", SOCK_DGRAM);
    Process receiver =
        start_service(listener.get(), "1", {"--sink", "null:", "--listen-timeout", "100ms"},
                      {"NOTIFY_SOCKET=" + folder / "notify"});
    CHECK(receiver.wait() != 0);
    CHECK_THAT(read_messages(manager.get()), Contains("STOPPING=1\nSTATUS=no sender"));
}

TEST_CASE("a receiver goes on without a service manager that cannot be reached") {
    const TemporaryFolder folder;
    make_image(folder / "image", 4, 7);
    const UniqueFd listener = loopback_socket(0, true);
    Process receiver = start_service(listener.get(), "1", {"--sink", "null:"},
                                     {"NOTIFY_SOCKET=" + folder / "missing"});
    REQUIRE(receiver.await_text("listening on"));
    CHECK_THAT(receiver.both(), Contains("the service manager will not hear of this migration"));
    Process sender(send_arguments("127.0.0.1:" + std::to_string(port_of(listener.get())),
                                  "file:" + folder / "image", {}));
    CHECK(sender.wait() == 0);
    CHECK(receiver.wait() == 0);
}

TEST_CASE("a receiver refuses a socket that no service manager passed, or that is none to use") {
    const TemporaryFolder folder;
    const UniqueFd listener = loopback_socket(0, true);
    const auto [unix_end, other_end] = unix_socket_pair();
    const UniqueFd not_listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct Case {
        int passed;
        const char* count;
        const char* reason;
    };
    const std::array cases{
        Case{-1, "1", "descriptor 3 is not open"},
        Case{listener.get(), "2", "LISTEN_FDS is '2': the .socket unit needs one ListenStream="},
        Case{listener.get(), "x", "LISTEN_FDS is 'x'"},
        Case{unix_end.get(), "1", "descriptor 3 is not a TCP socket"},
        Case{not_listening.get(), "1", "descriptor 3 does not listen"}};
    for (const Case& one : cases) {
        INFO(one.reason);
        Process receiver = start_service(one.passed, one.count, {"--sink", "null:"});
        CHECK(receiver.wait() != 0);
        CHECK_THAT(receiver.err(), Contains("--listen systemd: ") && Contains(one.reason));
    }
    Process alone({"recv", "--listen", "systemd", "--sink", "null:"});
    CHECK(alone.wait() != 0);
    CHECK_THAT(alone.err(), Contains("no service manager passed a socket to this process"));
}

TEST_CASE("a socket that other hosts reach needs encryption, or the word none", "[wire]") {
    const UniqueFd any(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::listen(any.get(), 1) == 0);  // binds it to 0.0.0.0
    Process receiver = start_service(any.get(), "1", {"--sink", "null:"});
    CHECK(receiver.wait() != 0);
    CHECK_THAT(receiver.err(), Contains("--tls-creds"));
    Process open = start_service(any.get(), "1", {"--sink", "null:", "--tls-creds", "none"});
    CHECK(open.await_text("listening on"));
}

}  // namespace
}  // namespace migrate::e2e
