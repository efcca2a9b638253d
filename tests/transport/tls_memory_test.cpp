// SPDX-License-Identifier: Apache-2.0
// OpenSSL without memory: each of its allocations fails in turn, and the error names that.
#include <openssl/crypto.h>

#include <cstdlib>

#include "catch.hpp"
#include "tests/support/noise.hpp"
#include "tests/transport/tls_pair.hpp"
#include "transport/tls/openssl.hpp"

namespace migrate::transport {
namespace {

constexpr std::string_view kNamed = "out of memory";

// The number of this thread's allocations until one fails; 0: none fails.
thread_local unsigned allocations_left = 0;

bool is_to_fail() {
    if (allocations_left == 0 || --allocations_left != 0) return false;
    note_failed_allocation();
    return true;
}

void* allocate(std::size_t size, const char*, int) {
    return size == 0 || is_to_fail() ? nullptr : std::malloc(size);
}

void release(void* memory, const char*, int) { std::free(memory); }

void* reallocate(void* memory, std::size_t size, const char*, int) {
    if (size != 0) return is_to_fail() ? nullptr : std::realloc(memory, size);
    std::free(memory);
    return nullptr;
}

// OpenSSL takes other functions as long as it has never used its own: before main(), and after it
// got those of the product, which would replace these.
const bool has_functions = [] {
    forget_openssl_errors();
    return CRYPTO_set_mem_functions(allocate, reallocate, release) == 1;
}();

// Lets the allocations of `work` fail in turn, one in each call, until none is left that could. Of
// the thousands of a certificate's, later ones are left out, more and more of them.
// `work` returns the messages of its errors, empty if it succeeded. Returns how often it failed.
template <typename Work>
int fail_each_allocation(Work work) {
    REQUIRE(has_functions);
    int failures = 0;
    for (unsigned number = 1;; number += 1 + number / 100) {
        INFO("allocation " << number);
        allocations_left = number;
        const std::string errors = work();
        const bool none_left = std::exchange(allocations_left, 0) != 0;
        INFO(errors);
        if (none_left) {
            CHECK(errors.empty());
            return failures;
        }
        if (errors.empty()) continue;  // OpenSSL can do without it
        ++failures;
        REQUIRE(errors.find(kNamed) != std::string::npos);
    }
}

std::string message_of(const Status& status) { return status ? "" : status.error().message(); }

// Both kinds of credentials for both sides.
struct Hosts {
    TestPki pki;
    TestHost host{pki};
    TemporaryFolder folder;
    std::string keys = write_test_psk(folder);

    std::shared_ptr<TlsEndpoint> endpoint(bool with_keys) const {
        return with_keys ? psk_endpoint(keys) : x509_endpoint(host.folder.path());
    }
};

TEST_CASE("an allocation that fails while credentials are read is named") {
    const Hosts hosts;
    const TlsRole role = GENERATE(TlsRole::kClient, TlsRole::kServer);
    const bool with_keys = GENERATE(false, true);
    const TlsSpec spec{.kind = with_keys ? TlsSpec::Kind::kPsk : TlsSpec::Kind::kX509,
                       .path = with_keys ? hosts.keys : hosts.host.folder.path()};
    CHECK(fail_each_allocation([&]() -> std::string {
              const auto context = load_tls_context(spec, role, "");
              return context ? "" : context.error().message();
          }) > 0);
}

TEST_CASE("an allocation that fails in a handshake is named by the side that lacks the memory") {
    const Hosts hosts;
    const bool with_keys = GENERATE(false, true);
    const auto client = hosts.endpoint(with_keys);
    const auto server = hosts.endpoint(with_keys);
    const auto kind = GENERATE(ConnectionKind::kMain, ConnectionKind::kData);
    if (kind == ConnectionKind::kData) {
        const HandshakePair main(*client, *server);
        REQUIRE(main.succeeded());
        client->remember(main.client->take_session());
    }
    CHECK(fail_each_allocation([&] {
              const HandshakePair pair(*client, *server, kind);
              return message_of(pair.client_status) + message_of(pair.server_status);
          }) > 0);
}

TEST_CASE("an allocation that fails while data is sent or received is named") {
    const Hosts hosts;
    const auto client = hosts.endpoint(true);
    const auto server = hosts.endpoint(true);
    const auto content = noise(1000, 7);
    CHECK(fail_each_allocation([&]() -> std::string {
              const unsigned number = std::exchange(allocations_left, 0);
              HandshakePair pair(*client, *server);
              REQUIRE(pair.succeeded());
              Socket near = adopt(std::move(pair.fds.near));
              Socket far = adopt(std::move(pair.fds.far));
              // Each record gets a new key, which takes memory.
              near.encrypt(pair.client->take_stream(1), {.credentials = "psk"});
              far.encrypt(pair.server->take_stream(1), {.credentials = "psk"});
              allocations_left = number;
              Status status;
              for (int turn = 0; status && turn < 3; ++turn) {
                  std::vector<std::byte> arrived(content.size());
                  status = near.send(content);
                  if (status) status = far.receive(arrived);
                  if (status) CHECK(arrived == content);
              }
              return message_of(status);
          }) > 0);
}

}  // namespace
}  // namespace migrate::transport
