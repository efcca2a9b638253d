// SPDX-License-Identifier: Apache-2.0
// Each way in which one side rejects the other, with the sentence that each of them gets.
#include "transport/tls/tls_handshake.hpp"

#include <sys/stat.h>

#include <filesystem>

#include "catch.hpp"
#include "tests/transport/tls_pair.hpp"

namespace migrate::transport {
namespace {

using std::chrono::hours;
using Purpose = TestCertificate::Purpose;

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

// The peer of each side is rejected with these words, and learns it with those.
void check_rejected(HandshakePair& pair, std::string_view client_words,
                    std::string_view server_words) {
    REQUIRE_FALSE(pair.client_status);
    REQUIRE_FALSE(pair.server_status);
    const std::string& client = pair.client_status.error().message();
    const std::string& server = pair.server_status.error().message();
    INFO("client: " << client << "\nserver: " << server);
    CHECK(pair.client_status.error().kind() == ErrorKind::kRefused);
    CHECK(pair.server_status.error().kind() == ErrorKind::kRefused);
    CHECK(contains(client, client_words));
    CHECK(contains(server, server_words));
}

TEST_CASE("two sides with certificates of one CA authenticate each other") {
    const TestPki pki;
    const TestHost sender(pki, "source");
    const TestHost receiver(pki, "destination");
    const auto client = x509_endpoint(sender.folder.path());
    const auto server = x509_endpoint(receiver.folder.path());
    HandshakePair main(*client, *server);
    must(main.client_status);
    must(main.server_status);
    const SecurityInfo at_client = main.client->info();
    CHECK(at_client.credentials == "x509");
    CHECK(at_client.protocol == "TLSv1.3");
    CHECK(at_client.cipher ==
          (cpu_has_aes() ? "TLS_AES_128_GCM_SHA256" : "TLS_CHACHA20_POLY1305_SHA256"));
    CHECK(at_client.peer == "CN=destination,O=Test");
    CHECK(main.server->info().peer == "CN=source,O=Test");
    CHECK(main.server->info().cipher == at_client.cipher);
}

TEST_CASE("data connections resume the session of the main one, any number of them") {
    const TemporaryFolder folder;
    const TestPki pki;
    const TestHost host(pki);
    const bool with_keys = GENERATE(false, true);
    const auto client =
        with_keys ? psk_endpoint(write_test_psk(folder)) : x509_endpoint(host.folder.path());
    const auto server =
        with_keys ? psk_endpoint(write_test_psk(folder)) : x509_endpoint(host.folder.path());
    HandshakePair main(*client, *server);
    REQUIRE(main.succeeded());
    SslSessionPtr session = main.client->take_session();
    REQUIRE(session);
    client->remember(std::move(session));
    for (int i = 0; i < 5; ++i) {
        HandshakePair data(*client, *server, ConnectionKind::kData);
        must(data.client_status);
        must(data.server_status);
        CHECK(data.client->is_resumed());
        CHECK(data.server->is_resumed());
        // A ticket would stay unread, and turn the end of the connection into a reset.
        CHECK_FALSE(data.client->take_session());
        auto [near, far] = data.sockets();
        CHECK_FALSE(near.has_input());
        must(near.send(std::as_bytes(std::span("hello", 5))));
        std::array<std::byte, 5> bytes{};
        must(far.receive(bytes));
    }
    CHECK_FALSE(main.client->is_resumed());
}

TEST_CASE("a data connection is authenticated in full if the receiver's files were renewed") {
    const TestPki pki;
    const TestHost host(pki);
    const auto client = x509_endpoint(host.folder.path());
    const auto server = x509_endpoint(host.folder.path());
    HandshakePair main(*client, *server);
    REQUIRE(main.succeeded());
    client->remember(main.client->take_session());
    pki.issue(host.folder.path(), "server",
              {.subject = "renewed", .names = {"IP:127.0.0.1"}, .purpose = Purpose::kServer});
    HandshakePair data(*client, *server, ConnectionKind::kData);
    must(data.client_status);
    must(data.server_status);
    CHECK_FALSE(data.client->is_resumed());
    CHECK(data.client->info().peer == "CN=renewed,O=Test");
}

TEST_CASE("an expired, early or misused certificate is rejected, with the reason on both sides") {
    const TestPki pki;
    const TestHost sender(pki);
    const TestHost receiver(pki);
    const auto client = x509_endpoint(sender.folder.path());
    const auto server = x509_endpoint(receiver.folder.path());
    const std::vector<std::string> loopback{"IP:127.0.0.1"};
    SECTION("the receiver's has expired") {
        pki.issue(receiver.folder.path(), "server",
                  {.names = loopback, .valid_from = hours(-9), .valid_until = hours(-1)});
        HandshakePair pair(*client, *server);
        check_rejected(pair, "of the receiver has expired",
                       "the sender rejects the certificate of this receiver: it has expired");
    }
    SECTION("the sender's has expired") {
        pki.issue(sender.folder.path(), "client",
                  {.valid_from = hours(-9), .valid_until = hours(-1)});
        HandshakePair pair(*client, *server);
        check_rejected(pair, "the receiver rejects the certificate of this sender: it has expired",
                       "of the sender has expired");
    }
    SECTION("the receiver's is not valid yet") {
        pki.issue(receiver.folder.path(), "server", {.names = loopback, .valid_from = hours(1)});
        HandshakePair pair(*client, *server);
        check_rejected(pair, "of the receiver is not valid yet",
                       "rejects the certificate of this receiver: it is not valid yet");
    }
    SECTION("the sender's is not valid yet") {
        pki.issue(sender.folder.path(), "client", {.valid_from = hours(1)});
        HandshakePair pair(*client, *server);
        check_rejected(pair, "rejects the certificate of this sender: it is not valid yet",
                       "of the sender is not valid yet");
    }
    SECTION("the receiver's is for clients") {
        pki.issue(receiver.folder.path(), "server",
                  {.names = loopback, .purpose = Purpose::kClient});
        HandshakePair pair(*client, *server);
        check_rejected(pair, "is not meant for a server", "it is not meant for this use");
    }
    SECTION("the sender's is for servers") {
        pki.issue(sender.folder.path(), "client", {.purpose = Purpose::kServer});
        HandshakePair pair(*client, *server);
        check_rejected(pair, "it is not meant for this use", "is not meant for a client");
    }
}

TEST_CASE("the receiver's certificate must be for the name that the sender expects") {
    const TestPki pki;
    const TestHost host(pki);
    const auto server = x509_endpoint(host.folder.path());
    const auto rejected = [&](const std::string& expected, const std::string& connected) {
        const auto client = x509_endpoint(host.folder.path(), {}, expected);
        HandshakePair pair(*client, *server, ConnectionKind::kMain, connected);
        check_rejected(pair, "is not for '" + (expected.empty() ? connected : expected) + "'",
                       "it is not for the name that the sender expects (tls-hostname)");
    };
    rejected("", "other.example");
    rejected("", "127.0.0.2");
    rejected("", "::1");
    rejected("other.example", "127.0.0.1");
    const auto client = x509_endpoint(host.folder.path(), {}, "localhost");
    HandshakePair pair(*client, *server, ConnectionKind::kMain, "192.0.2.1");
    must(pair.client_status);
}

TEST_CASE("a certificate of another CA is rejected, with the reason on both sides") {
    const TestPki pki;
    const TestPki other("other CA");
    const TestHost host(pki);
    const TestHost stranger(other);
    const TestHost confused(pki);
    // It trusts the right CA, but has certificates of another one.
    other.issue(confused.folder.path(), "client", {});
    other.issue(confused.folder.path(), "server", {.names = {"IP:127.0.0.1"}});
    const auto good = x509_endpoint(host.folder.path());
    const auto bad = x509_endpoint(confused.folder.path());
    SECTION("the receiver's") {
        HandshakePair pair(*good, *bad);
        check_rejected(pair, "was not issued by a CA that this side trusts",
                       "no CA that is trusted there has issued it");
    }
    SECTION("the sender's") {
        HandshakePair pair(*bad, *good);
        check_rejected(pair, "no CA that is trusted there has issued it",
                       "was not issued by a CA that this side trusts");
    }
}

TEST_CASE("a revoked certificate is rejected, with the reason on both sides") {
    const TestPki pki;
    const TestHost sender(pki);
    const TestHost receiver(pki);
    const auto client = x509_endpoint(sender.folder.path());
    const auto server = x509_endpoint(receiver.folder.path());
    SECTION("the receiver's") {
        pki.revoke(sender.folder.path(), {receiver.folder / "server-cert.pem"});
        HandshakePair pair(*client, *server);
        check_rejected(pair, "is revoked (ca-crl.pem)", "it is revoked");
    }
    SECTION("the sender's") {
        pki.revoke(receiver.folder.path(), {sender.folder / "client-cert.pem"});
        HandshakePair pair(*client, *server);
        check_rejected(pair, "it is revoked", "is revoked (ca-crl.pem)");
    }
    SECTION("none of the two") {
        pki.revoke(sender.folder.path(), {});
        pki.revoke(receiver.folder.path(), {});
        HandshakePair pair(*client, *server);
        must(pair.client_status);
        must(pair.server_status);
    }
    SECTION("the list is of another CA, so nothing can be checked") {
        const TestPki other("other CA");
        other.revoke(receiver.folder.path(), {});
        HandshakePair pair(*client, *server);
        check_rejected(pair, "the receiver cannot use its own TLS credentials",
                       "cannot check whether");
    }
}

TEST_CASE(
    "a peer that no pattern of tls-authz matches is rejected, with the reason on both sides") {
    const TestPki pki;
    const TestHost host(pki);
    pki.issue(host.folder.path(), "server",
              {.subject = "destination",
               .names = {"IP:127.0.0.1", "DNS:dst.example", "URI:spiffe://cluster/node/7"}});
    pki.issue(host.folder.path(), "client", {.subject = "source one"});
    const auto with = [&](std::vector<std::string> at_client, std::vector<std::string> at_server) {
        const auto client = x509_endpoint(host.folder.path(), std::move(at_client));
        const auto server = x509_endpoint(host.folder.path(), std::move(at_server));
        return std::make_unique<HandshakePair>(*client, *server);
    };
    CHECK(with({"nobody", "*.EXAMPLE"}, {"CN=source?one,*"})->succeeded());
    CHECK(with({"spiffe://cluster/*"}, {})->succeeded());
    CHECK(with({"CN=destination,O=Test"}, {})->succeeded());
    SECTION("the receiver") {
        const auto pair = with({"spiffe://other/*", "CN=destination", "dst.exampl"}, {});
        check_rejected(*pair, "no pattern of tls-authz matches a name of the receiver",
                       "the sender does not allow this receiver");
    }
    SECTION("the sender") {
        const auto pair = with({}, {"CN=destination*", "source one"});
        check_rejected(*pair, "the receiver does not allow this sender",
                       "no pattern of tls-authz matches a name of the sender");
    }
}

TEST_CASE("two sides with the same key authenticate each other, and no others") {
    const TemporaryFolder here;
    const TemporaryFolder there;
    const auto server = psk_endpoint(write_test_psk(there, "guest-1"));
    SECTION("the same key") {
        const auto client = psk_endpoint(write_test_psk(here, "guest-1"));
        HandshakePair pair(*client, *server);
        must(pair.client_status);
        must(pair.server_status);
        CHECK(pair.client->info().credentials == "psk");
        CHECK(pair.client->info().peer == "guest-1");
        CHECK(pair.server->info().peer == "guest-1");
    }
    SECTION("another key") {
        const auto client = psk_endpoint(write_test_psk(here, "guest-1", '8'));
        HandshakePair pair(*client, *server);
        check_rejected(pair, "the receiver has another key for the PSK identity 'guest-1'",
                       "the sender has another key for the PSK identity 'guest-1'");
    }
    SECTION("another identity") {
        const auto client = psk_endpoint(write_test_psk(here, "guest-2"));
        HandshakePair pair(*client, *server);
        check_rejected(pair, "does not know the PSK identity 'guest-2'",
                       "the sender's PSK identity is not known here");
    }
    SECTION("an identity that the receiver does not allow") {
        const auto strict = psk_endpoint(there / "keys.psk", {}, {"host-*"});
        const auto client = psk_endpoint(write_test_psk(here, "guest-1"));
        HandshakePair pair(*client, *strict);
        check_rejected(pair, "or does not allow it (tls-authz)",
                       "no pattern of tls-authz matches the PSK identity 'guest-1'");
    }
    SECTION("an identity that the sender does not allow") {
        const auto client = psk_endpoint(write_test_psk(here, "guest-1"), {}, {"host-*"});
        HandshakePair pair(*client, *server);
        CHECK(contains(message_of(pair.client_status), "no pattern of tls-authz matches"));
        CHECK(contains(message_of(pair.server_status), "closed the connection"));
    }
    SECTION("several keys, of which the receiver accepts one") {
        write_file(there / "keys.psk",
                   "a:" + std::string(32, '1') + "\nb:" + std::string(32, '2') + "\n");
        const auto only_b = psk_endpoint(there / "keys.psk", "b");
        HandshakePair good(*psk_endpoint(there / "keys.psk", "b"), *only_b);
        CHECK(good.succeeded());
        HandshakePair bad(*psk_endpoint(there / "keys.psk", "a"), *only_b);
        CHECK_FALSE(bad.succeeded());
    }
}

TEST_CASE("certificates on one side and keys on the other are told apart") {
    const TemporaryFolder folder;
    const TestPki pki;
    const TestHost host(pki);
    const auto keys = psk_endpoint(write_test_psk(folder));
    const auto certificates = x509_endpoint(host.folder.path());
    SECTION("keys at the sender") {
        HandshakePair pair(*keys, *certificates);
        check_rejected(pair, "the receiver uses certificates, and this sender a pre-shared key",
                       "the sender rejects the certificate of this receiver");
    }
    SECTION("certificates at the sender") {
        HandshakePair pair(*certificates, *keys);
        check_rejected(pair, "the receiver does not use certificates",
                       "the sender offers no pre-shared key");
    }
}

TEST_CASE("a side that closes during the handshake is a lost connection") {
    const TestPki pki;
    const TestHost host(pki);
    const auto endpoint = x509_endpoint(host.folder.path());
    TcpPair pair = make_tcp_pair();
    const auto client = must(endpoint->begin_main(
        pair.near.get(), must(endpoint->context(TlsRole::kClient, {})), "127.0.0.1"));
    REQUIRE(must(client->advance()) == TlsHandshake::Step::kNeedsInput);
    pair.far.reset();
    const auto step = client->advance();
    REQUIRE_FALSE(step);
    CHECK(step.error().kind() == ErrorKind::kLostConnection);
}

}  // namespace
}  // namespace migrate::transport
