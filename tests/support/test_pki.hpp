// SPDX-License-Identifier: Apache-2.0
// Certificates and keys for tests, made when they are needed: a CA and what it issues, in a folder
// with QEMU's names.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.hpp"

namespace migrate {

// Where a certificate differs from one that both sides accept.
struct TestCertificate {
    std::string subject = "host";  // its CN
    // Written as in a subject alternative name: "DNS:…", "IP:…", "URI:…".
    std::vector<std::string> names{};
    enum class Purpose { kServer, kClient, kAny } purpose = Purpose::kAny;
    // Relative to now.
    std::chrono::hours valid_from{-24};
    std::chrono::hours valid_until{24};
};

class TestPki {
  public:
    explicit TestPki(const std::string& name = "test CA");
    ~TestPki();
    TestPki(const TestPki&) = delete;
    TestPki& operator=(const TestPki&) = delete;

    // Writes the CA's certificate into the folder: ca-cert.pem.
    void write_ca(const std::string& folder) const;
    // Issues a certificate: ROLE-cert.pem and ROLE-key.pem. `role`: "server" or "client".
    void issue(const std::string& folder, const std::string& role,
               const TestCertificate& certificate) const;
    // Writes ca-crl.pem, which lists the certificates of these files as revoked.
    void revoke(const std::string& folder, const std::vector<std::string>& certificates) const;

    // All that a host needs, for 127.0.0.1.
    void write_host(const std::string& folder, const std::string& subject) const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// A file keys.psk with one line; returns its path.
std::string write_test_psk(const TemporaryFolder& folder, const std::string& identity = "qemu",
                           char digit = '7');

}  // namespace migrate
