// SPDX-License-Identifier: Apache-2.0
// Encrypted migrations between two processes, and each way in which one of them rejects the other:
// both users read the reason, no page moves, and the receiver serves the next sender.
//
// The rejections, and the cases here that provoke them; the same ones without processes are in
// tests/transport/tls_handshake_test.cpp, tls_files_test.cpp and tls_listener_test.cpp.
//   expired, not valid yet, wrong purpose, unknown CA, revoked, tls-authz
//       "a sender (a receiver) with a bad certificate is rejected, and both sides say why"
//   wrong name                             "a receiver with a bad certificate …"
//   a list of revoked certificates of another CA              tls_handshake_test
//   another key, unknown PSK identity      "a sender with another key …"
//   keys against certificates              "a sender with a bad certificate …", "… another key …"
//   only one side encrypts                 "a sender with a bad certificate …", "a sender that
//                                          encrypts does not fall back to plaintext"
//   own files: missing, empty              "files that cannot be used …", "a receiver with a bad …"
//   own files: unreadable, no certificate, cut off, passphrase, another key       tls_files_test
//   own key that every user may read       "a receiver with a bad certificate …", tls_files_test
//   plaintext to other hosts               "plaintext to other hosts must be asked for"
#include <sys/stat.h>

#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "catch.hpp"
#include "e2e/live_run.hpp"
#include "e2e/raw_peer.hpp"
#include "e2e/test_image.hpp"
#include "e2e/test_tls.hpp"
#include "e2e/transfer.hpp"

namespace migrate::e2e {
namespace {

using Catch::Matchers::Contains;
using std::chrono::hours;
using Purpose = TestCertificate::Purpose;

std::vector<std::string> creds(const std::string& value) { return {"--tls-creds", value}; }

std::string x509(const TemporaryFolder& folder) { return "x509:" + folder.path(); }

#ifndef MIGRATE_UNDER_SANITIZER
// The most memory that the process had in use.
std::uint64_t peak_memory_kib(pid_t pid) {
    std::ifstream status(fmt::format("/proc/{}/status", pid));
    for (std::string word; status >> word;) {
        std::uint64_t kib = 0;
        if (word == "VmHWM:" && status >> kib) return kib;
    }
    FAIL("no VmHWM");
    return 0;
}
#endif

// A receiver whose senders are rejected, until a good one comes.
class PickyReceiver {
  public:
    explicit PickyReceiver(std::vector<std::string> options) {
        options.insert(options.end(), {"--sink", "null:", "--stats", folder_ / "recv.json"});
        receiver_.emplace(options);
    }

    // The sender ends with exit code 3 and these words, and the receiver says those.
    void check_rejects(const std::vector<std::string>& sender_options,
                       const std::string& sender_words, const std::string& receiver_words) {
        Process sender(send_arguments(*receiver_, "anon:4M,fill=random", sender_options));
        const int code = sender.wait();
        INFO("sender:\n" << sender.both() << "receiver:\n" << (*receiver_)->both());
        CHECK(code == 3);
        CHECK_THAT(sender.err(), Contains(sender_words));
        CHECK(receiver_->process().await_text(receiver_words));
    }
    // Nothing of the senders that were rejected counts.
    void check_accepts(const std::vector<std::string>& sender_options) {
        Process sender(send_arguments(*receiver_, "anon:4M,fill=random", sender_options));
        const int sent = sender.wait();
        const int received = receiver_->process().wait();
        INFO("sender:\n" << sender.both() << "receiver:\n" << (*receiver_)->both());
        REQUIRE(sent == 0);
        REQUIRE(received == 0);
        CHECK(read_stats(folder_ / "recv.json")["ram"]["normal"] == 1024);
    }
    Receiver& receiver() { return *receiver_; }

  private:
    TemporaryFolder folder_;
    std::optional<Receiver> receiver_;
};

}  // namespace

TEST_CASE("an image arrives encrypted, and both reports state cipher and peer", "[tls]") {
    const TemporaryFolder folder(scratch_parent());
    make_image(folder / "guest.mem", 24, 5);
    const std::string mode = GENERATE("x509", "psk");
    const TestCredentials& files = TestCredentials::get();
    const std::string value = mode == "psk" ? files.psk() : files.x509();
    for (const char* channels : {"1", "4"}) {
        const TransferStats stats =
            run_transfer(folder, {.source = folder / "guest.mem",
                                  .sink = "file:" + (folder / "copy.mem"),
                                  .send_options = {"--tls-creds", value, "--multifd-channels",
                                                   channels, "--verify", "digest"},
                                  .recv_options = creds(value)});
        CHECK(same_content(folder / "guest.mem", folder / "copy.mem"));
        for (const nlohmann::json* side : {&stats.sender, &stats.receiver}) {
            CHECK((*side)["security"]["mode"] == mode);
            CHECK((*side)["security"]["protocol"] == "TLSv1.3");
            CHECK((*side)["security"]["peer"] == (mode == "psk" ? "qemu" : "CN=127.0.0.1,O=Test"));
            CHECK((*side)["settings"]["tls-creds"] == value);
        }
    }
}

TEST_CASE("plaintext is named as such", "[tls]") {
    if (tests_use_tls()) return;
    const TemporaryFolder folder;
    Receiver receiver({"--sink", "null:", "--stats", folder / "recv.json"});
    Process sender(send_arguments(receiver, "anon:4M", {"--stats", folder / "send.json"}));
    REQUIRE(sender.wait() == 0);
    REQUIRE(receiver->wait() == 0);
    CHECK_THAT(sender.both(), Contains(", plaintext\ntime: ") && Contains("): plaintext"));
    CHECK_THAT(receiver->both(), Contains(", plaintext\ntime: ") && Contains("), plaintext"));
    CHECK(read_stats(folder / "send.json")["security"]["mode"] == "plaintext");
}

TEST_CASE("a guest travels encrypted, there and back, too", "[tls]") {
    const TemporaryFolder folder;
    const TestCredentials& files = TestCredentials::get();
    const std::string value = GENERATE(false, true) ? files.psk() : files.x509();
    SECTION("there") {
        LiveRun run(folder, "workload:32M,rate=50,warm-up=0",
                    {"--tls-creds", value, "--devices", "sim:vf,count=2,size=2M"},
                    {"--sink", "anon:", "--tls-creds", value});
        check_arrived(run);
    }
    SECTION("and back") {
        LiveRun run(folder, "workload:32M,rate=50,warm-up=0",
                    {"--tls-creds", value, "--repeat", "2"},
                    {"--sink", "anon:", "--repeat", "2", "--tls-creds", value});
        const int sent = run.sender.wait();
        INFO(run.sender.both() << run.receiver->both());
        CHECK(sent == 0);
        CHECK(run.receiver->wait() == 0);
        CHECK(guest_went_on(run.sender));
        const auto legs = nlohmann::json::parse(read_file(folder / "send.json"));
        CHECK(legs.size() == 4);
        for (const auto& leg : legs) CHECK(leg["security"]["mode"] != "plaintext");
    }
}

TEST_CASE("a sender with a bad certificate is rejected, and both sides say why", "[tls]") {
    const TestPki& pki = TestCredentials::get().pki();
    const TestPki other("other CA");
    const TemporaryFolder here;
    pki.write_host(here.path(), "127.0.0.1");
    const TemporaryFolder there;
    pki.write_host(there.path(), "source");
    pki.issue(here.path(), "revoked", {});
    pki.revoke(here.path(), {here / "revoked-cert.pem"});
    PickyReceiver receiver({"--tls-creds", x509(here), "--tls-authz", "CN=nobody CN=source,*"});
    const auto rejects = [&](const std::string& sender_words, const std::string& receiver_words) {
        receiver.check_rejects(creds(x509(there)), sender_words, receiver_words);
    };
    pki.issue(there.path(), "client", {.valid_from = hours(-2), .valid_until = hours(-1)});
    rejects("rejects the certificate of this sender: it has expired", "of the sender has expired");
    pki.issue(there.path(), "client", {.valid_from = hours(1)});
    rejects("it is not valid yet", "of the sender is not valid yet");
    pki.issue(there.path(), "client", {.purpose = Purpose::kServer});
    rejects("it is not meant for this use", "is not meant for a client");
    other.issue(there.path(), "client", {});
    rejects("no CA that is trusted there has issued it", "was not issued by a CA");
    for (const char* file : {"-cert.pem", "-key.pem"}) {
        std::filesystem::copy_file(here / "revoked" + file, there / "client" + file,
                                   std::filesystem::copy_options::overwrite_existing);
    }
    rejects("it is revoked", "is revoked (ca-crl.pem)");
    pki.issue(there.path(), "client", {.subject = "stranger"});
    rejects("the receiver does not allow this sender", "no pattern of tls-authz matches");
    receiver.check_rejects({}, "this receiver takes encrypted connections only",
                           "this receiver takes encrypted connections only");
    receiver.check_rejects(creds(TestCredentials::get().psk()),
                           "the receiver uses certificates, and this sender a pre-shared key",
                           "the sender rejects the certificate of this receiver");
    pki.issue(there.path(), "client", {.subject = "source"});
    receiver.check_accepts(creds(x509(there)));
}

TEST_CASE("a receiver with a bad certificate is rejected, and both sides say why", "[tls]") {
    const TestPki& pki = TestCredentials::get().pki();
    const TestPki other("other CA");
    const TemporaryFolder here;
    pki.write_host(here.path(), "127.0.0.1");
    const TemporaryFolder there;
    pki.write_host(there.path(), "source");
    const std::vector<std::string> names{"IP:127.0.0.1"};
    // The receiver reads its files again for every sender.
    PickyReceiver receiver(creds(x509(here)));
    const auto rejects = [&](const std::string& sender_words, const std::string& receiver_words) {
        receiver.check_rejects(creds(x509(there)), sender_words, receiver_words);
    };
    pki.issue(here.path(), "server",
              {.names = names, .valid_from = hours(-2), .valid_until = hours(-1)});
    rejects("of the receiver has expired", "rejects the certificate of this receiver: it has");
    pki.issue(here.path(), "server", {.names = names, .valid_from = hours(1)});
    rejects("of the receiver is not valid yet", "it is not valid yet");
    pki.issue(here.path(), "server", {.names = names, .purpose = Purpose::kClient});
    rejects("is not meant for a server", "it is not meant for this use");
    other.issue(here.path(), "server", {.names = names});
    rejects("was not issued by a CA", "no CA that is trusted there has issued it");
    pki.issue(here.path(), "server", {.names = {"DNS:other.example", "IP:127.0.0.2"}});
    rejects("is not for '127.0.0.1'", "it is not for the name that the sender expects");
    pki.issue(here.path(), "server", {.names = names});
    receiver.check_rejects({"--tls-creds", x509(there), "--tls-hostname", "other.example"},
                           "is not for 'other.example'",
                           "it is not for the name that the sender expects");
    receiver.check_rejects({"--tls-creds", x509(there), "--tls-authz", "CN=somebody*"},
                           "no pattern of tls-authz matches", "the sender does not allow this");
    REQUIRE(::chmod((here / "server-key.pem").c_str(), 0644) == 0);
    rejects("the receiver cannot use its own TLS credentials", "every user of this host");
    REQUIRE(::chmod((here / "server-key.pem").c_str(), 0600) == 0);
    write_file(here / "server-cert.pem", "");
    rejects("the receiver cannot use its own TLS credentials", "server-cert.pem is empty");
    pki.issue(here.path(), "server", {.names = names});
    pki.issue(there.path(), "revoked", {});
    pki.revoke(there.path(), {here / "server-cert.pem"});
    rejects("is revoked (ca-crl.pem)", "it is revoked");
    std::filesystem::remove(there / "ca-crl.pem");
    receiver.check_accepts(creds(x509(there)));
}

TEST_CASE("a sender with another key is rejected, and both sides say why", "[tls]") {
    const TemporaryFolder here;
    const TemporaryFolder there;
    PickyReceiver receiver(creds("psk:" + write_test_psk(here, "guest-1")));
    const auto with = [&](const std::string& identity, char digit) {
        return creds("psk:" + write_test_psk(there, identity, digit));
    };
    receiver.check_rejects(with("guest-1", '8'), "has another key for the PSK identity 'guest-1'",
                           "has another key for the PSK identity 'guest-1'");
    receiver.check_rejects(with("guest-2", '7'), "does not know the PSK identity 'guest-2'",
                           "the sender's PSK identity is not known here");
    receiver.check_rejects(creds(TestCredentials::get().x509()),
                           "the receiver does not use certificates",
                           "the sender offers no pre-shared key");
    receiver.check_accepts(with("guest-1", '7'));
}

TEST_CASE("a sender that encrypts does not fall back to plaintext", "[tls]") {
    if (tests_use_tls()) return;
    const TestCredentials& files = TestCredentials::get();
    PickyReceiver receiver({});
    for (const std::string& value : {files.psk(), files.x509()}) {
        receiver.check_rejects(creds(value), "the receiver does not use TLS",
                               "the sender encrypts and this receiver does not");
    }
    receiver.check_accepts({});
}

TEST_CASE("files that cannot be used are named before anything else happens", "[tls]") {
    const TemporaryFolder folder;
    TestCredentials::get().write_host(folder, "127.0.0.1");
    const auto check = [&](const std::string& value, const std::string& words) {
        Process sender(
            {"send", "--connect", "127.0.0.1:1", "--source", "anon:4K", "--tls-creds", value});
        CHECK(sender.wait() == 2);
        CHECK_THAT(sender.err(), Contains(words));
        Process receiver(
            {"recv", "--listen", "127.0.0.1:0", "--sink", "null:", "--tls-creds", value});
        CHECK(receiver.wait() == 2);
        CHECK_THAT(receiver.err(), Contains(words));
    };
    check("x509:/nowhere", "/nowhere/ca-cert.pem");
    check("psk:/nowhere", "/nowhere");
    check("psk:", "tls-creds psk: needs");
    check("tls:x", "there is no kind 'tls:'");
    write_file(folder / "ca-cert.pem", "");
    check(x509(folder), "ca-cert.pem is empty");
}

TEST_CASE("options of TLS that have no effect are refused", "[tls]") {
    const TestCredentials& files = TestCredentials::get();
    const auto check = [&](std::vector<std::string> arguments, const std::string& words) {
        arguments.insert(arguments.begin(), {"recv", "--listen", "127.0.0.1:0", "--sink", "null:"});
        Process process(arguments);
        CHECK(process.wait() == 2);
        CHECK_THAT(process.err(), Contains(words));
    };
    check({"--tls-creds", "none", "--tls-authz", "CN=x"}, "tls-authz has no effect");
    check({"--tls-creds", files.psk(), "--tls-hostname", "x"}, "tls-hostname has no effect");
    check({"--tls-creds", files.x509(), "--tls-hostname", "x"}, "give it at the sender");
    check({"--tls-creds", files.psk() + ",new=/x"}, "needs either");
    check({"--tls-creds", files.psk(), "--tls-authz", "  "}, "tls-authz has no pattern");
}

TEST_CASE("plaintext to other hosts must be asked for", "[tls]") {
    if (tests_use_tls()) return;
    const std::string words = "or --tls-creds none for plaintext";
    Process sender({"send", "--connect", "192.0.2.1:4444", "--source", "anon:4K"});
    CHECK(sender.wait() == 2);
    CHECK_THAT(sender.err(), Contains(words));
    for (const char* address : {"0.0.0.0:0", "[::]:0"}) {
        Process receiver({"recv", "--listen", address, "--sink", "null:"});
        CHECK(receiver.wait() == 2);
        CHECK_THAT(receiver.err(), Contains(words));
    }
    Process open({"recv", "--listen", "0.0.0.0:0", "--sink", "null:", "--tls-creds", "none"});
    CHECK(open.await_text("listening on"));
    open.signal(SIGINT);
    CHECK(open.wait() == 4);
}

TEST_CASE("a one-time key serves one session and is gone after it", "[tls]") {
    const TemporaryFolder folder;
    const std::string path = folder / "key";
    const bool cancelled = GENERATE(false, true);
    Receiver receiver({"--sink", "null:", "--tls-creds", "psk:new=" + path});
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 07777U) == 0600);
    if (cancelled) {
        receiver->signal(SIGTERM);
        CHECK(receiver->wait() == 4);
    } else {
        // The copy stands for the file on the other host.
        std::filesystem::copy_file(path, folder / "copy");
        REQUIRE(::chmod((folder / "copy").c_str(), 0600) == 0);
        Process sender(
            send_arguments(receiver, "anon:4M", {"--tls-creds", "psk:" + (folder / "copy")}));
        CHECK(sender.wait() == 0);
        CHECK(receiver->wait() == 0);
        CHECK_THAT(sender.both(), Contains("psk peer 'migrate'"));
    }
    CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("255 encrypted channels and a thousand half handshakes", "[tls]") {
    const TestCredentials& files = TestCredentials::get();
    const TemporaryFolder folder;
    Receiver receiver({"--sink", "null:", "--stats", folder / "recv.json", "--tls-creds",
                       files.x509(), "--handshake-timeout", "50s"});
    std::vector<RawSocket> strangers;
    const std::string half("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
    for (int i = 0; i < 1000; ++i) {
        strangers.push_back(RawSocket::connect(receiver.port()));
        if (i % 2 == 0) strangers.back().send(half);
    }
#ifndef MIGRATE_UNDER_SANITIZER
    CHECK(peak_memory_kib(receiver->pid()) < 64 * 1024);
#endif
    Process sender(send_arguments(
        receiver, "anon:4M,fill=random",
        {"--tls-creds", files.x509(), "--multifd-channels", "255", "--handshake-timeout", "50s"}));
    const int sent = sender.wait();
    INFO(sender.both() << receiver->both());
    REQUIRE(sent == 0);
    REQUIRE(receiver->wait() == 0);
    CHECK(read_stats(folder / "recv.json")["multifd"]["channels"] == 255);
}

}  // namespace migrate::e2e
