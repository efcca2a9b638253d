// SPDX-License-Identifier: Apache-2.0
#include "transport/tls/tls_context.hpp"

#include "transport/tls/tls_handshake.hpp"
#include "transport/tls/x509_files.hpp"

namespace migrate::transport {
namespace {

// RFC 8446, appendix B.4. Both have SHA-256, so one key of a PSK file serves both.
constexpr char kAesFirst[] = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
constexpr char kChachaFirst[] = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
constexpr char kGroups[] = "X25519:P-256";
// The kernel gives several records at once; 384 connections that are being set up have a buffer.
constexpr std::size_t kReadBuffer = std::size_t{64} * 1024;

Error openssl_error(std::string_view what) {
    return make_error("cannot {}: {}", what, take_openssl_reason());
}

// Called by a server when a client wants to resume a session. A data connection needs no ticket of
// its own: nobody would read it there, and a close with unread input breaks the connection off.
SSL_TICKET_RETURN use_ticket(SSL* ssl, SSL_SESSION*, const unsigned char*, std::size_t,
                             SSL_TICKET_STATUS status, void*) {
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) {
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
    SSL_set_num_tickets(ssl, 0);
    return SSL_TICKET_RETURN_USE;
}

Status set_parameters(SSL_CTX* ssl, TlsRole role) {
    const bool is_set =
        SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) == 1 &&
        SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) == 1 &&
        SSL_CTX_set_ciphersuites(ssl, cpu_has_aes() ? kAesFirst : kChachaFirst) == 1 &&
        SSL_CTX_set1_groups_list(ssl, kGroups) == 1;
    if (!is_set) return openssl_error("set up TLS 1.3");
    // A receiver follows its own order, but takes ChaCha20 if the sender's CPU prefers it.
    SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    // Reads return after a record without data, so that no lock is held for long.
    SSL_CTX_clear_mode(ssl, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_default_read_buffer_len(ssl, kReadBuffer);
    // Sessions are kept in tickets; the connector keeps the one that its data channels resume.
    SSL_CTX_set_session_cache_mode(
        ssl, SSL_SESS_CACHE_NO_INTERNAL |
                 (role == TlsRole::kClient ? SSL_SESS_CACHE_CLIENT : SSL_SESS_CACHE_OFF));
    SSL_CTX_set_num_tickets(ssl, 1);
    SSL_CTX_set_timeout(ssl, kSessionSeconds);
    keep_sessions_of_handshakes(ssl);
    if (role == TlsRole::kClient) return {};
    // Only a server has a name for its sessions.
    constexpr unsigned char kName[] = "migrate";
    if (SSL_CTX_set_session_ticket_cb(ssl, nullptr, use_ticket, nullptr) != 1 ||
        SSL_CTX_set_session_id_context(ssl, kName, sizeof kName - 1) != 1) {
        return openssl_error("set up TLS sessions");
    }
    return {};
}

Status load_psk(const TlsSpec& spec, TlsRole role, std::string_view line, TlsContext& context) {
    if (line.empty()) {
        MIGRATE_ASSIGN(const SecretText text,
                       read_credential_file(spec.path, FileUse::kSecret, context.stamps));
        MIGRATE_ASSIGN(context.keys, parse_psk_keys(text.view(), spec.path));
    } else {
        MIGRATE_ASSIGN(context.keys, parse_psk_keys(line, "the one-time key"));
    }
    if (role == TlsRole::kClient) {
        MIGRATE_ASSIGN(context.own, choose_key(context.keys, spec.identity, spec.path));
    } else if (!spec.identity.empty()) {
        MIGRATE_ASSIGN(context.own, choose_key(context.keys, spec.identity, spec.path));
        std::erase_if(context.keys,
                      [&](const PskKey& key) { return key.identity != spec.identity; });
        context.own = nullptr;
    }
    return {};
}

}  // namespace

bool cpu_has_aes() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("aes") != 0 && __builtin_cpu_supports("pclmul") != 0;
#else
    return true;
#endif
}

Result<std::shared_ptr<const TlsContext>> load_tls_context(const TlsSpec& spec, TlsRole role,
                                                           std::string_view line) {
    forget_openssl_errors();
    auto context = std::make_shared<TlsContext>();
    context->ssl.reset(
        SSL_CTX_new(role == TlsRole::kClient ? TLS_client_method() : TLS_server_method()));
    if (!context->ssl) return openssl_error("set up TLS");
    MIGRATE_TRY(set_parameters(context->ssl.get(), role));
    MIGRATE_TRY(spec.kind == TlsSpec::Kind::kX509 ? load_x509(spec.path, role, *context)
                                                  : load_psk(spec, role, line, *context));
    // A function of OpenSSL may succeed although an allocation in it failed. A later handshake may
    // need what was to be allocated.
    if (is_out_of_memory()) return openssl_error("set up TLS");
    return std::shared_ptr<const TlsContext>(std::move(context));
}

}  // namespace migrate::transport
