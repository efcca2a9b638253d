// SPDX-License-Identifier: Apache-2.0
#include "e2e/test_tls.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "transport/tls/tls_endpoint.hpp"

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
    // Tests run processes of other users, who are of this one's group.
    using std::filesystem::perms;
    constexpr auto kAdd = std::filesystem::perm_options::add;
    for (const std::string& name : folder_.names()) {
        std::filesystem::permissions(folder_ / name, perms::group_read, kAdd);
    }
    std::filesystem::permissions(folder_.path(), perms::group_read | perms::group_exec, kAdd);
}

const TestCredentials& TestCredentials::get() {
    static const TestCredentials credentials;
    return credentials;
}

bool tests_use_tls() { return !wanted().empty(); }

std::vector<std::string> with_test_tls(std::vector<std::string> words) {
    if (!tests_use_tls()) return words;
    const auto program = std::find_if(words.begin(), words.end(), [](const std::string& word) {
        return std::filesystem::path(word).filename() == "migrate";
    });
    if (program == words.end() || program + 1 == words.end()) return words;
    if (program[1] != "send" && program[1] != "recv") return words;
    if (std::find(words.begin(), words.end(), "--tls-creds") != words.end()) return words;
    const TestCredentials& credentials = TestCredentials::get();
    words.insert(words.end(),
                 {"--tls-creds", wanted() == "psk" ? credentials.psk() : credentials.x509()});
    return words;
}

transport::Security test_security() {
    if (!tests_use_tls()) return {};
    const TestCredentials& credentials = TestCredentials::get();
    using Kind = transport::TlsSpec::Kind;
    const bool is_psk = wanted() == "psk";
    return {.tls = transport::TlsEndpoint::create(
                {.kind = is_psk ? Kind::kPsk : Kind::kX509,
                 .path = (is_psk ? credentials.psk() : credentials.x509()).substr(is_psk ? 4 : 5)},
                std::nullopt)};
}

}  // namespace migrate::e2e
