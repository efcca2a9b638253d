// SPDX-License-Identifier: Apache-2.0
#include "transport/tls/tls_handshake.hpp"

#include <arpa/inet.h>
#include <openssl/x509v3.h>

#include <array>
#include <cerrno>

#include "transport/tls/tls_peer.hpp"

namespace migrate::transport {

// Functions that OpenSSL calls; no exception may leave them.
struct TlsCallbacks {
    static TlsHandshake* handshake_of(const SSL* ssl) {
        return static_cast<TlsHandshake*>(SSL_get_app_data(ssl));
    }

    static int verify(int is_good, X509_STORE_CTX* store) noexcept {
        const auto* ssl = static_cast<SSL*>(
            X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
        TlsHandshake* handshake = handshake_of(ssl);
        try {
            return handshake != nullptr && handshake->check_certificate(is_good == 1, store) ? 1
                                                                                             : 0;
        } catch (...) {
            note_failed_allocation();
            X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
            return 0;
        }
    }

    // Keeps the reference to the session if it returns 1.
    static int new_session(SSL* ssl, SSL_SESSION* session) noexcept {
        TlsHandshake* handshake = handshake_of(ssl);
        if (handshake == nullptr) return 0;
        handshake->session_.reset(session);
        return 1;
    }

    static void info(const SSL* ssl, int where, int value) noexcept {
        constexpr int kReadAlert = SSL_CB_READ_ALERT;
        constexpr int kFatal = 2;
        TlsHandshake* handshake = handshake_of(ssl);
        if (handshake == nullptr || (where & kReadAlert) != kReadAlert) return;
        if (value >> 8 == kFatal) handshake->alert_ = value & 0xFF;
    }

    static SSL_SESSION* make_session(SSL* ssl, const PskKey& key) noexcept {
        constexpr std::array<unsigned char, 2> kAes128GcmSha256{0x13, 0x01};
        SslSessionPtr session(SSL_SESSION_new());
        const SSL_CIPHER* cipher = SSL_CIPHER_find(ssl, kAes128GcmSha256.data());
        const auto bytes = key.bytes();
        const bool made =
            session && cipher != nullptr &&
            SSL_SESSION_set1_master_key(session.get(), bytes.data(), bytes.size()) == 1 &&
            SSL_SESSION_set_cipher(session.get(), cipher) == 1 &&
            SSL_SESSION_set_protocol_version(session.get(), TLS1_3_VERSION) == 1 &&
            SSL_SESSION_set_timeout(session.get(), kSessionSeconds) == 1;
        return made ? session.release() : nullptr;
    }

    // An identity that is not known may be a ticket: OpenSSL then looks at that.
    static int find_session(SSL* ssl, const unsigned char* identity, std::size_t size,
                            SSL_SESSION** session) noexcept {
        *session = nullptr;
        TlsHandshake* handshake = handshake_of(ssl);
        if (handshake == nullptr) return 1;
        try {
            const PskKey* key =
                handshake->choose_key_for({reinterpret_cast<const char*>(identity), size});
            if (key == nullptr) return 1;
            *session = make_session(ssl, *key);
        } catch (...) {
            note_failed_allocation();
        }
        return *session != nullptr ? 1 : 0;
    }

    // `digest` is set if the handshake has one already, which the key must suit.
    static int use_session(SSL* ssl, const EVP_MD* digest, const unsigned char** identity,
                           std::size_t* size, SSL_SESSION** session) noexcept {
        *session = nullptr;
        const TlsHandshake* handshake = handshake_of(ssl);
        if (handshake == nullptr) return 1;
        if (digest != nullptr && EVP_MD_get_type(digest) != NID_sha256) return 1;
        const PskKey& key = *handshake->start_.context->own;
        *identity = reinterpret_cast<const unsigned char*>(key.identity.data());
        *size = key.identity.size();
        *session = make_session(ssl, key);
        return *session != nullptr ? 1 : 0;
    }
};

void keep_sessions_of_handshakes(SSL_CTX* context) {
    SSL_CTX_sess_set_new_cb(context, TlsCallbacks::new_session);
}

Result<std::unique_ptr<TlsHandshake>> TlsHandshake::create(int fd, Start start) {
    forget_openssl_errors();
    std::unique_ptr<TlsHandshake> handshake(new TlsHandshake(std::move(start)));
    MIGRATE_ASSIGN(handshake->connection_,
                   make_tls_connection(fd, handshake->start_.context->ssl.get()));
    Status prepared = handshake->prepare();
    if (is_out_of_memory()) return make_error("cannot set up TLS: {}", take_openssl_reason());
    MIGRATE_TRY(std::move(prepared));
    return handshake;
}

TlsHandshake::~TlsHandshake() {
    if (connection_) SSL_set_app_data(connection_->ssl.get(), nullptr);
}

Status TlsHandshake::prepare() {
    SSL* ssl = connection_->ssl.get();
    SSL_set_app_data(ssl, this);
    SSL_set_info_callback(ssl, TlsCallbacks::info);
    // A peer without a certificate is rejected also where keys are expected: with PSK a client
    // rejects any certificate.
    SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, TlsCallbacks::verify);
    const bool is_psk = start_.spec.kind == TlsSpec::Kind::kPsk;
    if (start_.role == TlsRole::kServer) {
        SSL_set_accept_state(ssl);
        if (is_psk) SSL_set_psk_find_session_callback(ssl, TlsCallbacks::find_session);
        return {};
    }
    SSL_set_connect_state(ssl);
    if (start_.resumed != nullptr) {
        // A copy: OpenSSL marks the session of a connection that is cut off as useless.
        const SslSessionPtr session(SSL_SESSION_dup(start_.resumed));
        if (!session || SSL_set_session(ssl, session.get()) != 1) {
            return make_error("cannot resume a TLS session: {}", take_openssl_reason());
        }
    }
    if (is_psk) {
        SSL_set_psk_use_session_callback(ssl, TlsCallbacks::use_session);
        identity_ = start_.context->own->identity;
        return check_identity();
    }
    return expect_name();
}

Status TlsHandshake::expect_name() {
    SSL* ssl = connection_->ssl.get();
    const std::string& name = start_.server_name;
    std::array<unsigned char, sizeof(in6_addr)> address{};
    const bool is_address = ::inet_pton(AF_INET, name.c_str(), address.data()) == 1 ||
                            ::inet_pton(AF_INET6, name.c_str(), address.data()) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const bool is_set = !name.empty() && (is_address ? X509_VERIFY_PARAM_set1_ip_asc(
                                                           SSL_get0_param(ssl), name.c_str())
                                                     : SSL_set1_host(ssl, name.c_str())) == 1;
    if (is_set) return {};
    return make_error(ErrorKind::kUsage, "'{}' cannot be a name in a certificate (tls-hostname)",
                      name);
}

Status TlsHandshake::check_identity() {
    if (is_allowed({.subject = identity_}, start_.spec.allowed)) return {};
    return make_error(ErrorKind::kRefused, "no pattern of tls-authz matches the PSK identity '{}'",
                      identity_);
}

Result<TlsHandshake::Step> TlsHandshake::advance() {
    SSL* ssl = connection_->ssl.get();
    forget_openssl_errors();
    connection_->error = 0;
    if (!is_connected_) {
        const int result = SSL_do_handshake(ssl);
        if (result != 1) return stopped(result);
        is_connected_ = true;
    }
    // A server sends a ticket when it has accepted the client.
    while (start_.awaits_acceptance && !session_) {
        char byte = 0;
        std::size_t size = 0;
        const int result = SSL_peek_ex(ssl, &byte, 1, &size);
        if (result == 1) break;
        if (session_) break;
        const bool may_go_on =
            SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ && !connection_->is_starved;
        if (!may_go_on) return stopped(result);
        forget_openssl_errors();
    }
    return Step::kDone;
}

// The handshake did not go on; `result` is OpenSSL's.
Result<TlsHandshake::Step> TlsHandshake::stopped(int result) {
    const int kind = SSL_get_error(connection_->ssl.get(), result);
    lacked_memory_ = lacked_memory_ || is_out_of_memory();
    if (kind == SSL_ERROR_WANT_READ) return Step::kNeedsInput;
    if (kind == SSL_ERROR_WANT_WRITE) return Step::kNeedsRoom;
    return failure(kind);
}

Error TlsHandshake::failure(int kind) {
    // A rejection may follow from that: a ticket that cannot be read is an unknown PSK identity.
    if (lacked_memory_) {
        forget_openssl_errors();
        const bool says_so = rejection_.find(kOutOfMemory) != std::string::npos;
        return Error(
            ErrorKind::kRefused,
            says_so ? rejection_ : fmt::format("the TLS handshake failed: {}", kOutOfMemory));
    }
    const HandshakeState state{.role = start_.role,
                               .kind = start_.spec.kind,
                               .peer_checks_us = is_connected_,
                               .identity = identity_};
    const bool has_ended = ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING ||
                           kind == SSL_ERROR_ZERO_RETURN ||
                           (kind == SSL_ERROR_SYSCALL && ERR_peek_error() == 0);
    if (!rejection_.empty() || alert_ || !has_ended) {
        std::string text = !rejection_.empty() ? rejection_
                           : alert_            ? alert_text(*alert_, state)
                                               : failure_text(state);
        forget_openssl_errors();
        return Error(ErrorKind::kRefused, std::move(text));
    }
    forget_openssl_errors();
    if (connection_->error != 0) {
        return Error::system("go on with the TLS handshake", connection_->error)
            .as(ErrorKind::kLostConnection);
    }
    return make_error(
        ErrorKind::kLostConnection, "{} closed the connection during the TLS handshake",
        start_.role == TlsRole::kClient ? "the receiver (does it use TLS? its messages say more)"
                                        : "the sender");
}

bool TlsHandshake::check_certificate(bool is_good, X509_STORE_CTX* store) {
    const int error = X509_STORE_CTX_get_error(store);
    X509* certificate = X509_STORE_CTX_get_current_cert(store);
    if (start_.spec.kind == TlsSpec::Kind::kPsk) {
        rejection_ =
            "the receiver uses certificates, and this sender a pre-shared key: give both "
            "the same kind of tls-creds";
        return false;
    }
    if (!is_good) {
        const std::string subject = certificate == nullptr ? "?" : subject_of(certificate);
        if (is_out_of_memory()) {
            rejection_ =
                fmt::format("the certificate '{}' cannot be checked: {}", subject, kOutOfMemory);
            X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
            return false;
        }
        rejection_ = rejection_text(error, start_.role, subject, start_.server_name);
        X509_STORE_CTX_set_error(store, error_for_alert(error));
        return false;
    }
    if (X509_STORE_CTX_get_error_depth(store) != 0) return true;
    const PeerNames names = names_of(certificate);
    if (is_allowed(names, start_.spec.allowed)) return true;
    rejection_ =
        fmt::format("no pattern of tls-authz matches a name of {} '{}'",
                    start_.role == TlsRole::kClient ? "the receiver" : "the sender", names.subject);
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return false;
}

const PskKey* TlsHandshake::choose_key_for(std::string_view identity) {
    const PskKey* key = find_key(start_.context->keys, identity);
    if (key == nullptr) {
        rejection_ = "the sender's PSK identity is not known here";
        return nullptr;
    }
    identity_ = key->identity;
    rejection_.clear();
    if (const Status allowed = check_identity(); !allowed) {
        rejection_ = allowed.error().message();
        return nullptr;
    }
    return key;
}

bool TlsHandshake::is_resumed() const {
    // With a pre-shared key OpenSSL takes that for a session, too.
    const bool by_ticket = identity_.empty() || start_.resumed != nullptr;
    return by_ticket && SSL_session_reused(connection_->ssl.get()) == 1;
}

SecurityInfo TlsHandshake::info() const {
    const SSL* ssl = connection_->ssl.get();
    SecurityInfo info{.credentials = std::string(start_.spec.name()),
                      .protocol = SSL_get_version(ssl),
                      .cipher = SSL_get_cipher_name(ssl),
                      .peer = identity_};
    if (X509* certificate = SSL_get0_peer_certificate(ssl)) info.peer = subject_of(certificate);
    return info;
}

std::unique_ptr<Stream> TlsHandshake::take_stream(std::uint64_t records_per_key) {
    SSL_set_app_data(connection_->ssl.get(), nullptr);
    SSL_set_info_callback(connection_->ssl.get(), nullptr);
    return make_tls_stream(std::move(connection_), records_per_key);
}

}  // namespace migrate::transport
