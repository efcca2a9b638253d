// SPDX-License-Identifier: Apache-2.0
// Several network paths between two processes, on several addresses of the loopback: they share the
// work, one that fails is repaired over the others, and comes back. tests/network has real links.
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include "catch.hpp"
#include "e2e/broken_run.hpp"
#include "e2e/process.hpp"
#include "e2e/tcp_proxy.hpp"
#include "e2e/test_image.hpp"
#include "e2e/test_tls.hpp"
#include "e2e/transfer.hpp"
#include "tests/support/loopback.hpp"
#include "tests/support/tcp_pair.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using Json = nlohmann::json;
using Words = std::vector<std::string>;

constexpr int kImageMiB = 48;

// An image that goes from one process to another, whose receiver listens on two addresses.
class PathRun {
  public:
    explicit PathRun(const Words& recv_options = {}) : receiver_(recv_words(recv_options)) {
        make_image(folder_ / "image", kImageMiB, 5);
    }

    std::string first() const { return receiver_.endpoint(); }
    std::string second() const { return "127.0.0.2:" + std::to_string(receiver_.port()); }
    std::uint16_t port() const { return receiver_.port(); }

    // Sends the image, and checks that it arrived. Returns the sender's statistics.
    Json send(const Words& options) {
        Process sender(send_words(options));
        const int code = sender.wait();
        said_ = sender.both();
        INFO(said_ << receiver_->both());
        REQUIRE(code == 0);
        REQUIRE(receiver_->wait() == 0);
        CHECK(same_content(folder_ / "image", folder_ / "copy"));
        Json sent = read_stats(folder_ / "sent");
        const Json received = read_stats(folder_ / "received");
        for (const char* key : {"normal", "duplicate", "unpopulated"}) {
            CHECK(sent.at("ram").at(key) == received.at("ram").at(key));
        }
        check_paths(sent);
        return sent;
    }
    // Sends it in vain. Returns the exit code.
    int fail(const Words& options) {
        Process sender(send_words(options));
        const int code = sender.wait();
        said_ = sender.both();
        return code;
    }
    const std::string& said() const { return said_; }

  private:
    Words recv_words(const Words& options) const {
        Words words{"--sink",  "file:" + (folder_ / "copy"), "--listen", "127.0.0.2:0",
                    "--stats", folder_ / "received"};
        words.insert(words.end(), options.begin(), options.end());
        return words;
    }
    Words send_words(const Words& options) const {
        Words words{"send",    "--source",      "file:" + (folder_ / "image"), "--verify", "digest",
                    "--stats", folder_ / "sent"};
        words.insert(words.end(), options.begin(), options.end());
        return words;
    }
    // The paths carried what the channels carried.
    static void check_paths(const Json& sent) {
        std::uint64_t bytes = 0;
        int main = 0;
        for (const Json& path : sent.at("paths")) {
            bytes += path.at("bytes").get<std::uint64_t>();
            if (path.at("main").get<bool>()) ++main;
        }
        INFO(sent.at("paths").dump(1));
        CHECK(bytes == sent.at("ram").at("multifd-bytes"));
        CHECK(main == 1);
    }

    TemporaryFolder folder_{scratch_parent()};
    std::string said_;
    Receiver receiver_;
};

std::uint64_t bytes_of(const Json& path) { return path.at("bytes").get<std::uint64_t>(); }

std::string unused_endpoint() {
    return "127.0.0.1:" + std::to_string(port_of(loopback_socket(0, true).get()));
}

TEST_CASE("the channels of several paths share the work of a round", "[paths]") {
    PathRun run;
    const Json sent =
        run.send({"--connect", run.first(), "--connect", run.second(), "--multifd-channels", "4"});
    const Json& paths = sent.at("paths");
    REQUIRE(paths.size() == 2);
    CHECK(paths[0].at("remote") == run.first());
    CHECK(paths[1].at("remote") == run.second());
    CHECK(paths[0].at("main") == true);
    for (const Json& path : paths) {
        CHECK(path.at("channels") == 2);
        CHECK(path.at("channels-lost") == 0);
        CHECK(path.at("interface") == "lo");
        CHECK(bytes_of(path) > 0);
    }
}

TEST_CASE("a path has the address or the interface of this host that it is given, and its channels",
          "[paths]") {
    PathRun run;
    const Json sent = run.send({"--path", "remote=" + run.first() + ",dev=lo", "--path",
                                "remote=" + run.second() + ",local=127.0.0.3,channels=1",
                                "--multifd-channels", "4"});
    const Json& paths = sent.at("paths");
    CHECK(paths[0].at("channels") == 3);
    CHECK(paths[1].at("channels") == 1);
    CHECK(paths[1].at("local") == "127.0.0.3");
}

TEST_CASE("further channels of multifd-channels=auto go to all paths", "[paths]") {
    PathRun run;
    const Json sent = run.send({"--connect", run.first(), "--connect", run.second()});
    for (const Json& path : sent.at("paths")) {
        CHECK(path.at("channels") >= 1);
        CHECK(bytes_of(path) > 0);
    }
}

TEST_CASE("a path that does not answer at the start leaves its channels to another", "[paths]") {
    PathRun run;
    const Json sent = run.send(
        {"--connect", unused_endpoint(), "--connect", run.first(), "--multifd-channels", "4"});
    CHECK_THAT(run.said(), Contains("does not answer; the main channel goes by " + run.first()));
    const Json& paths = sent.at("paths");
    CHECK(paths[0].at("channels") == 0);
    CHECK(paths[0].at("main") == false);
    CHECK(paths[1].at("channels") == 4);
}

TEST_CASE("without any path that answers the reason of each is said", "[paths]") {
    PathRun run;
    const std::string one = unused_endpoint();
    const std::string other = unused_endpoint();
    CHECK(run.fail({"--connect", one, "--connect", other, "--connect-timeout", "100ms"}) == 1);
    CHECK_THAT(run.said(), Contains("no path leads to the receiver within 100 ms") &&
                               Contains(one) && Contains(other));
}

TEST_CASE("a path that is cut in mid-round comes back, and no other one notices", "[paths]") {
    PathRun run;
    // The first connections of the second path, so that all its channels are lost at once.
    const std::vector<Cut> cuts{
        {.connection = 0, .by = CutBy::kReset, .when = {.bytes = kMiBytes}},
        {.connection = 1, .by = CutBy::kReset, .when = {.bytes = kMiBytes}}};
    const TcpProxy proxy(run.port(), cuts);
    const Json sent = run.send({"--path", "remote=" + run.first() + ",max-bandwidth=12M/s",
                                "--path", "remote=" + proxy.endpoint() + ",max-bandwidth=12M/s",
                                "--multifd-channels", "4"});
    CHECK(proxy.cuts() == 2);
    const Json& paths = sent.at("paths");
    INFO(run.said());
    CHECK(paths[0].at("channels-lost") == 0);
    CHECK(paths[0].at("channels") == 2);
    CHECK(paths[1].at("channels-lost") == 2);
    CHECK(paths[1].at("channels") == 2);
    // More than came before the cut.
    CHECK(bytes_of(paths[1]) > 2 * kMiBytes);
    CHECK(sent.at("outages").at("channels-lost") == 2);
    CHECK(sent.at("outages").at("main-channel-lost") == 0);
    CHECK(sent.at("outages").at("count") == 0);
}

TEST_CASE("a path that stays away is repaired over the others", "[paths]") {
    PathRun run;
    const std::vector<Cut> cuts{
        {.connection = 0, .by = CutBy::kReset, .when = {.bytes = kMiBytes}},
        {.connection = 1, .by = CutBy::kReset, .when = {.bytes = kMiBytes}}};
    const TcpProxy proxy(run.port(), cuts, 2);
    const Json sent = run.send(
        {"--connect", run.first(), "--connect", proxy.endpoint(), "--multifd-channels", "4"});
    const Json& paths = sent.at("paths");
    CHECK(paths[0].at("channels") == 2);
    CHECK(paths[0].at("channels-lost") == 0);
    CHECK(paths[1].at("channels-lost").get<int>() >= 2);
    CHECK(bytes_of(paths[0]) > bytes_of(paths[1]));
}

TEST_CASE("the main channel takes another path when its own is lost", "[paths]") {
    PathRun run;
    std::vector<Cut> cuts;
    for (std::size_t connection = 0; connection < 3; ++connection) {
        cuts.push_back(
            {.connection = connection, .by = CutBy::kReset, .when = {.bytes = 2 * kMiBytes}});
    }
    const TcpProxy proxy(run.port(), cuts, 3);
    const Json sent = run.send(
        {"--connect", proxy.endpoint(), "--connect", run.first(), "--multifd-channels", "4"});
    INFO(run.said());
    const Json& paths = sent.at("paths");
    CHECK(paths[0].at("main") == false);
    CHECK(paths[1].at("main") == true);
    CHECK(sent.at("outages").at("main-channel-lost").get<int>() >= 1);
    CHECK_THAT(run.said(), Contains("the main channel goes by " + run.first()));
}

TEST_CASE("a path's max-bandwidth limits that path only", "[paths]") {
    PathRun run;
    const Json sent =
        run.send({"--connect", run.first(), "--path",
                  "remote=" + run.second() + ",max-bandwidth=1M/s", "--multifd-channels", "2"});
    const Json& paths = sent.at("paths");
    CHECK(paths[1].at("max-bandwidth") == kMiBytes);
    CHECK(bytes_of(paths[0]) > bytes_of(paths[1]));
    // The rate, and a packet that may overdraw it.
    const auto limit = sent.at("total-time-us").get<std::uint64_t>() + 2 * kMiBytes;
    CHECK(bytes_of(paths[1]) < limit * kMiBytes / 1'000'000 + 2 * kMiBytes);
}

bool has_mptcp() {
    const UniqueFd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
    if (!probe) WARN("skipped: this kernel has no MPTCP");
    return static_cast<bool>(probe);
}

TEST_CASE("a path uses MPTCP if both sides want it, and plain TCP otherwise", "[paths]") {
    if (!has_mptcp()) return;
    const bool receiver_wants = GENERATE(true, false);
    PathRun run(receiver_wants ? Words{"--listen-mptcp", "on"} : Words{});
    const Json sent = run.send({"--path", "remote=" + run.first() + ",mptcp=on", "--connect",
                                run.second(), "--multifd-channels", "4", "--zero-copy-send", "on"});
    const Json& paths = sent.at("paths");
    CHECK(paths[0].at("remote") == run.second());
    CHECK(paths[0].at("mptcp") == false);
    CHECK(paths[1].at("mptcp") == receiver_wants);
    const bool warned = run.said().find("the receiver does not use MPTCP") != std::string::npos;
    CHECK(warned == !receiver_wants);
    CHECK(sent.at("zero-copy").at("used") == false);
}

TEST_CASE("a path that cannot be is refused before anything is moved", "[paths]") {
    PathRun run;
    const auto refused = [&run](const Words& options, const char* reason) {
        Words words{"--multifd-channels", "2"};
        words.insert(words.end(), options.begin(), options.end());
        CHECK(run.fail(words) == 2);
        CHECK_THAT(run.said(), Contains(reason));
    };
    refused({"--path", "remote=" + run.first() + ",dev=no-such-if"},
            "this host has no network interface 'no-such-if'");
    // An address for documents (RFC 5737).
    refused({"--path", "remote=" + run.first() + ",local=192.0.2.1"},
            "this host does not have the address 192.0.2.1");
    refused({"--path", "remote=" + run.first() + ",local=::1"},
            "::1 and 127.0.0.1 are not both IPv4 or both IPv6 addresses");
    refused({"--connect", run.first(), "--connect", run.first()}, "the paths 1 and 2 are the same");
    refused({"--connect", run.first(), "--path", "remote=" + run.second() + ",channels=2"},
            "the paths need 3 channels, and multifd-channels is 2");
    refused({"--connect", run.first(), "--connect", "192.0.2.1:1", "--tls-creds", ""},
            "192.0.2.1:1 is an address beyond this host");
}

TEST_CASE("every path is authenticated like the first", "[paths]") {
    const std::string creds = TestCredentials::get().x509();
    const Words recv_options{"--tls-creds", creds};
    SECTION("the first that answers must have a name of the certificate") {
        PathRun run(recv_options);
        const Words options{
            "--connect", unused_endpoint(),    "--connect", run.second(), "--tls-creds",
            creds,       "--multifd-channels", "2"};
        CHECK(run.fail(options) == 3);
        CHECK_THAT(run.said(), Contains(run.second()) && Contains("is not for '127.0.0.2'") &&
                                   Contains("tls-hostname"));
        Words named = options;
        named.insert(named.end(), {"--tls-hostname", "127.0.0.1"});
        CHECK(run.send(named).at("security").at("mode") == "x509");
    }
    SECTION("a path that is cut comes back encrypted") {
        PathRun run(recv_options);
        const TcpProxy proxy(run.port(),
                             {{.connection = 0, .by = CutBy::kReset, .when = {.bytes = kMiBytes}}});
        const Json sent = run.send({"--path", "remote=" + run.first() + ",max-bandwidth=12M/s",
                                    "--path", "remote=" + proxy.endpoint() + ",max-bandwidth=12M/s",
                                    "--tls-creds", creds, "--multifd-channels", "2"});
        CHECK(sent.at("paths")[1].at("channels-lost") == 1);
        CHECK(sent.at("paths")[1].at("channels") == 1);
    }
}

}  // namespace
}  // namespace migrate::e2e
