// SPDX-License-Identifier: Apache-2.0
#include "transport/security.hpp"

#include "transport/security_info.hpp"
#include "transport/tls/tls_endpoint.hpp"

namespace migrate::transport {
namespace {

constexpr std::string_view kOneTimeIdentity = "migrate";

std::vector<std::string> split_words(std::string_view text) {
    const std::vector<std::string_view> words = split_list(text);
    return {words.begin(), words.end()};
}

Result<std::shared_ptr<TlsEndpoint>> make_endpoint(const ParsedForm& creds,
                                                   const Settings& settings) {
    TlsSpec spec{.path = creds.operand.value.text,
                 .hostname = settings.get<"tls-hostname">(),
                 .allowed = split_words(settings.get<"tls-authz">())};
    std::optional<OneTimeKey> one_time;
    if (creds.is("psk")) {
        spec.kind = TlsSpec::Kind::kPsk;
        const Words<kPskWords> words(creds);
        spec.identity = words.get<"identity">();
        if (words.has<"new">()) {
            if (spec.identity.empty()) spec.identity = kOneTimeIdentity;
            MIGRATE_ASSIGN(OneTimeKey made, OneTimeKey::create(words.get<"new">(), spec.identity));
            one_time.emplace(std::move(made));
        }
    }
    auto endpoint = TlsEndpoint::create(std::move(spec), std::move(one_time));
    // Errors of the files are reported before anything else begins.
    const bool both = settings.get<"repeat">() != 0;
    if (both || settings.side() == Side::kSend) {
        MIGRATE_TRY(endpoint->context(TlsRole::kClient, {}));
    }
    if (both || settings.side() == Side::kRecv) {
        MIGRATE_TRY(endpoint->context(TlsRole::kServer, {}));
    }
    return endpoint;
}

}  // namespace

std::string SecurityInfo::text() const {
    if (!is_encrypted()) return "plaintext";
    return fmt::format("{}, {}, {} peer '{}'", protocol, cipher, credentials, peer);
}

void Security::session_ended() const {
    if (tls) tls->forget_one_time_key();
}

Result<Security> make_security(const Settings& settings) {
    Security security;
    for (const auto& [key, value] :
         {std::pair<const char*, std::string>{"tls-creds", settings.get<"tls-creds">()},
          {"tls-hostname", settings.get<"tls-hostname">()},
          {"tls-authz", settings.get<"tls-authz">()}}) {
        if (!value.empty()) security.options.emplace_back(key, value);
    }
    const std::string& text = settings.get<"tls-creds">();
    if (text.empty()) return security;
    MIGRATE_ASSIGN(const ParsedForm creds, parse_form_of<"tls-creds">(text));
    security.plaintext_to_any_host = creds.is("none");
    if (security.plaintext_to_any_host) return security;
    auto endpoint = make_endpoint(creds, settings);
    if (!endpoint) return std::move(endpoint).error().with_context("tls-creds");
    security.tls = *std::move(endpoint);
    return security;
}

}  // namespace migrate::transport
