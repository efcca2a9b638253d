// SPDX-License-Identifier: Apache-2.0
// The files of --tls-creds: each fault has a message that names the file, and none has a secret.
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/test_pki.hpp"
#include "transport/security.hpp"
#include "transport/tls/psk_keys.hpp"
#include "transport/tls/tls_context.hpp"

namespace migrate::transport {
namespace {

TlsSpec x509(const std::string& folder) { return {.kind = TlsSpec::Kind::kX509, .path = folder}; }

std::string fault_of(const TlsSpec& spec, TlsRole role = TlsRole::kServer) {
    const auto context = load_tls_context(spec, role, "");
    if (context) return "no fault";
    CHECK(context.error().kind() == ErrorKind::kUsage);
    return context.error().message();
}

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

TEST_CASE("a folder with all certificates can be used for both roles") {
    const TestPki pki;
    const TemporaryFolder folder;
    pki.write_host(folder.path(), "host");
    for (const TlsRole role : {TlsRole::kClient, TlsRole::kServer}) {
        const auto context = must(load_tls_context(x509(folder.path()), role, ""));
        CHECK(context->warnings.empty());
    }
}

TEST_CASE("each fault of a folder with certificates has its own message") {
    const TestPki pki;
    const TemporaryFolder folder;
    pki.write_host(folder.path(), "host");
    const std::string certificate = folder / "server-cert.pem";
    const std::string key = folder / "server-key.pem";
    const auto fault = [&] { return fault_of(x509(folder.path())); };
    SECTION("no folder") { CHECK(contains(fault_of(x509("/nowhere")), "/nowhere/ca-cert.pem")); }
    SECTION("a missing file") {
        std::filesystem::remove(key);
        CHECK(fault() == "cannot open " + key + ": No such file or directory");
    }
    SECTION("an empty file") {
        write_file(certificate, "");
        CHECK(fault() == certificate + " is empty");
    }
    SECTION("a file that this user may not read") {
        const std::string authorities = folder / "ca-cert.pem";
        REQUIRE(::chmod(authorities.c_str(), 0) == 0);
        // Root may read every file, so this thread accesses files as another user meanwhile.
        const bool is_root = ::geteuid() == 0;
        if (is_root) ::setfsuid(65534);
        const std::string said = fault();
        if (is_root) ::setfsuid(0);
        CHECK(said == "cannot open " + authorities + ": Permission denied");
    }
    SECTION("a folder in place of a file") {
        std::filesystem::remove(certificate);
        std::filesystem::create_directory(certificate);
        CHECK(fault() == certificate + " is a folder, not a file");
    }
    SECTION("a FIFO in place of a file") {
        std::filesystem::remove(certificate);
        REQUIRE(::mkfifo(certificate.c_str(), 0600) == 0);
        CHECK(fault() == certificate + " is a FIFO, not a file");
    }
    SECTION("other text in place of a certificate") {
        write_file(certificate, "hello\n");
        CHECK(fault() == certificate + " has no certificate in PEM form");
    }
    SECTION("a certificate that was cut off") {
        write_file(certificate, read_file(certificate).substr(0, 200));
        CHECK(contains(fault(), certificate));
    }
    SECTION("other text in place of a key") {
        write_file(key, "hello\n");
        CHECK(fault() == key + " has no private key in PEM form");
    }
    SECTION("a key with a passphrase") {
        write_file(key,
                   "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE "
                   "KEY-----\n");
        CHECK(contains(fault(), key + " is protected by a passphrase"));
    }
    SECTION("the key of another certificate") {
        std::filesystem::copy_file(folder / "client-key.pem", key,
                                   std::filesystem::copy_options::overwrite_existing);
        CHECK(fault() == key + " is not the key of the certificate in " + certificate);
    }
    SECTION("a key that every user may read") {
        REQUIRE(::chmod(key.c_str(), 0644) == 0);
        CHECK(fault() == key +
                             " holds a key, and every user of this host may use it (mode 0644): "
                             "make it private with chmod 0600");
        // Also through a link.
        std::filesystem::rename(key, folder / "real");
        std::filesystem::create_symlink("real", key);
        CHECK(contains(fault(), "every user of this host"));
    }
    SECTION("a key that only a group may read, too") {
        REQUIRE(::chmod(key.c_str(), 0640) == 0);
        CHECK(fault() == "no fault");
    }
    SECTION("a file that is too large") {
        write_file(certificate, std::string(1024 * 1024 + 1, 'x'));
        CHECK(fault() == certificate + " is larger than 1 MiB");
    }
    SECTION("a list of revoked certificates without a list") {
        write_file(folder / "ca-crl.pem", "hello\n");
        CHECK(contains(fault(), "has no list of revoked certificates"));
    }
}

TEST_CASE("a certificate that a peer will reject is a warning, since clocks may differ") {
    const TestPki pki;
    const TemporaryFolder folder;
    pki.write_host(folder.path(), "host");
    const auto warning = [&] {
        const auto context = must(load_tls_context(x509(folder.path()), TlsRole::kServer, ""));
        REQUIRE(context->warnings.size() == 1);
        return context->warnings.front();
    };
    using std::chrono::hours;
    pki.issue(folder.path(), "server", {.valid_from = hours(-2), .valid_until = hours(-1)});
    CHECK(contains(warning(), "has expired"));
    pki.issue(folder.path(), "server", {.valid_from = hours(1)});
    CHECK(contains(warning(), "is not valid yet"));
    pki.issue(folder.path(), "server", {.purpose = TestCertificate::Purpose::kClient});
    CHECK(contains(warning(), "is not meant for a server"));
}

TEST_CASE("each fault of a file of keys has its own message, without a key") {
    const std::string hex(32, 'a');
    const auto fault = [](const std::string& text) {
        const auto keys = parse_psk_keys(text, "keys.psk");
        return keys ? std::string("no fault") : keys.error().message();
    };
    CHECK(fault("qemu:" + hex + "\n") == "no fault");
    CHECK(fault("# a comment\n\nqemu:" + hex + "\r\na:b:" + hex) == "no fault");
    CHECK(fault("") == "keys.psk has no key: expected lines IDENTITY:HEX");
    CHECK(fault("qemu\n") == "keys.psk, line 1: it is not IDENTITY:HEX");
    CHECK(contains(fault(":" + hex), "the identity has 0 characters"));
    CHECK(contains(fault(std::string(129, 'i') + ":" + hex), "the identity has 129 characters"));
    CHECK(contains(fault("\nqemu:abc"), "line 2: the key has an odd number of hex digits"));
    CHECK(contains(fault("qemu:zz" + hex), "the key is not hex digits"));
    CHECK(contains(fault("qemu:" + hex.substr(2)), "the key has 15 bytes; expected 16 to 64"));
    CHECK(contains(fault("qemu:" + std::string(130, 'a')), "the key has 65 bytes"));
    CHECK(contains(fault("a:" + hex + "\na:" + hex), "line 2: the identity 'a' is there twice"));
    for (const char* text : {"qemu:abcdefabcdefabcdefabc", "qemu:abcdefabcdef"}) {
        CHECK_FALSE(contains(fault(text), "abcdef"));
    }
}

TEST_CASE("a client chooses the named key, the only one, or that of qemu") {
    const std::string hex = ":" + std::string(32, '1') + "\n";
    const PskKeys one = must(parse_psk_keys("only" + hex, "keys.psk"));
    CHECK(must(choose_key(one, "", "keys.psk"))->identity == "only");
    CHECK(message_of(choose_key(one, "other", "keys.psk")) ==
          "keys.psk has no key for the identity 'other'");
    const PskKeys two = must(parse_psk_keys("a" + hex + "qemu" + hex, "keys.psk"));
    CHECK(must(choose_key(two, "", "keys.psk"))->identity == "qemu");
    CHECK(must(choose_key(two, "a", "keys.psk"))->identity == "a");
    const PskKeys unclear = must(parse_psk_keys("a" + hex + "b" + hex, "keys.psk"));
    CHECK(message_of(choose_key(unclear, "", "keys.psk")) ==
          "keys.psk has several keys: choose one with identity=a or b");
}

TEST_CASE("a file of keys that every user may read is refused") {
    const TemporaryFolder folder;
    const std::string path = write_test_psk(folder);
    const TlsSpec spec{.kind = TlsSpec::Kind::kPsk, .path = path};
    CHECK(fault_of(spec) == "no fault");
    REQUIRE(::chmod(path.c_str(), 0604) == 0);
    CHECK(contains(fault_of(spec), "every user of this host may use it (mode 0604)"));
}

TEST_CASE("a one-time key is private, replaces nothing, and goes with its session") {
    const TemporaryFolder folder;
    const std::string path = folder / "key";
    std::string first;
    {
        OneTimeKey key = must(OneTimeKey::create(path, "migrate"));
        struct stat status {};
        REQUIRE(::stat(path.c_str(), &status) == 0);
        CHECK((status.st_mode & 07777U) == 0600);
        first = read_file(path);
        CHECK(first == key.line());
        CHECK(must(parse_psk_keys(first, path)).front().bytes().size() == 32);
        CHECK(contains(message_of(OneTimeKey::create(path, "migrate")), "exists"));
        CHECK(folder.names().size() == 1);
        key.remove();
        CHECK(folder.names().empty());
        // A file that has the name now is not this one's.
        write_file(path, "mine");
    }
    CHECK(read_file(path) == "mine");
    std::filesystem::remove(path);
    CHECK(must(OneTimeKey::create(path, "migrate")).line() != first);
    CHECK_FALSE(std::filesystem::exists(path));
    // A link is not followed.
    std::filesystem::create_symlink(folder / "elsewhere", path);
    CHECK_FALSE(OneTimeKey::create(path, "migrate"));
    CHECK_FALSE(OneTimeKey::create("/nowhere/key", "migrate"));
}

}  // namespace
}  // namespace migrate::transport
