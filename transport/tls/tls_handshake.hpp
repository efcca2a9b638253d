// SPDX-License-Identifier: Apache-2.0
// The TLS handshake of one connection, step by step without waiting. Invariants: a stream comes out
// of it only if the peer was authenticated and is allowed; the client of a main connection also
// knows that the server has accepted it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "transport/security_info.hpp"
#include "transport/stream.hpp"
#include "transport/tls/tls_connection.hpp"
#include "transport/tls/tls_context.hpp"
#include "transport/tls/tls_errors.hpp"
#include "transport/tls/tls_stream.hpp"

namespace migrate::transport {

// Sets the callback by which a handshake learns the session of its connection.
void keep_sessions_of_handshakes(SSL_CTX* context);

class TlsHandshake {
  public:
    enum class Step { kDone, kNeedsInput, kNeedsRoom };

    struct Start {
        TlsRole role = TlsRole::kClient;
        const TlsSpec& spec;  // outlives the handshake
        std::shared_ptr<const TlsContext> context;
        std::string server_name{};  // client with x509: the name that the certificate must have
        SSL_SESSION* resumed{};     // client: the session to resume; null: none
        bool awaits_acceptance = false;  // client: done only when the server has accepted this side
    };
    // `fd` is connected and outlives the object and its stream.
    static Result<std::unique_ptr<TlsHandshake>> create(int fd, Start start);
    TlsHandshake(const TlsHandshake&) = delete;
    TlsHandshake& operator=(const TlsHandshake&) = delete;
    ~TlsHandshake();

    // Goes on as far as possible. kRefused if one of the sides rejects the other: the message says
    // which and why, and the peer has been sent the matching alert. kLostConnection if the peer
    // closed the connection. After an Error, and after kDone, it is not called again.
    Result<Step> advance();

    // The rest is for after kDone.
    SecurityInfo info() const;
    // True if the connection resumed an earlier session.
    bool is_resumed() const;
    // The session that later connections can resume; null if the server gave none.
    SslSessionPtr take_session() { return std::move(session_); }
    // `records_per_key`: see make_tls_stream().
    std::unique_ptr<Stream> take_stream(std::uint64_t records_per_key = kRecordsPerKey);

  private:
    friend struct TlsCallbacks;

    explicit TlsHandshake(Start start) : start_(std::move(start)) {}
    Status prepare();
    Status expect_name();
    Result<Step> stopped(int result);
    Error failure(int kind);
    Status check_identity();
    // Return false to reject; called from OpenSSL.
    bool check_certificate(bool is_good, X509_STORE_CTX* store);
    const PskKey* choose_key_for(std::string_view identity);

    Start start_;
    std::unique_ptr<TlsConnection> connection_;
    SslSessionPtr session_;
    std::string rejection_;     // why this side rejects the peer; empty: it does not
    std::string identity_;      // psk: the identity in use
    std::optional<int> alert_;  // the fatal alert that came
    bool is_connected_ = false;
    bool lacked_memory_ = false;  // in this step or before: what fails later may follow from it
};

}  // namespace migrate::transport
