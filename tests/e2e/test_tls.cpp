#include "e2e/test_tls.hpp"

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace migrate::e2e {
namespace {

std::string_view wanted() {
    const char* value = std::getenv("MIGRATE_TEST_TLS");
    return value == nullptr ? "" : value;
}

}  // namespace

TestCredentials::TestCredentials() {
    pki_.write_host(folder_.path(), "127.0.0.1");
    write_test_psk(folder_);
}

const TestCredentials& TestCredentials::get() {
    static const TestCredentials credentials;
    return credentials;
}

bool tests_use_tls() { return !wanted().empty(); }

std::vector<std::string> with_test_tls(std::vector<std::string> words) {
    if (!tests_use_tls()) return words;
    const auto program = std::find(words.begin(), words.end(), MIGRATE_BINARY);
    if (program == words.end() || program + 1 == words.end()) return words;
    if (program[1] != "send" && program[1] != "recv") return words;
    if (std::find(words.begin(), words.end(), "--tls-creds") != words.end()) return words;
    const TestCredentials& credentials = TestCredentials::get();
    words.insert(words.end(),
                 {"--tls-creds", wanted() == "psk" ? credentials.psk() : credentials.x509()});
    return words;
}

}  // namespace migrate::e2e
