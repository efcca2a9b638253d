// SPDX-License-Identifier: Apache-2.0
// Credentials for processes under test. MIGRATE_TEST_TLS=x509 or psk makes every test run its
// senders and receivers with TLS, unless the test chooses their --tls-creds itself.
#pragma once

#include <string>
#include <vector>

#include "tests/support/temporary_folder.hpp"
#include "tests/support/test_pki.hpp"
#include "transport/security.hpp"

namespace migrate::e2e {

// Files for 127.0.0.1 that last as long as the test program.
class TestCredentials {
  public:
    static const TestCredentials& get();

    // Values of --tls-creds.
    std::string x509() const { return "x509:" + folder_.path(); }
    std::string psk() const { return "psk:" + folder_ / "keys.psk"; }
    const TestPki& pki() const { return pki_; }
    // "127.0.0.1" with a certificate of its own in `folder`.
    void write_host(const TemporaryFolder& folder, const std::string& subject) const {
        pki_.write_host(folder.path(), subject);
    }

  private:
    TestCredentials();
    TemporaryFolder folder_;
    TestPki pki_;
};

// Adds the credentials of MIGRATE_TEST_TLS to a command line with `migrate send` or `migrate recv`.
std::vector<std::string> with_test_tls(std::vector<std::string> words);
// True if the environment asks for TLS.
bool tests_use_tls();
// The same for a session in the test program.
transport::Security test_security();

}  // namespace migrate::e2e
