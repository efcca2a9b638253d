// SPDX-License-Identifier: Apache-2.0
// Sentences for users: why a certificate is not accepted, and what a peer's alert means. Both sides
// get a sentence of their own for each case. No sentence contains a secret.
#pragma once

#include <string>

#include "transport/tls/tls_context.hpp"

namespace migrate::transport {

// The state of a handshake that failed, as far as a sentence depends on it.
struct HandshakeState {
    TlsRole role = TlsRole::kClient;
    TlsSpec::Kind kind = TlsSpec::Kind::kX509;
    // Client: the server has authenticated itself, and checks this side.
    bool peer_checks_us = false;
    std::string identity{};  // psk: the identity that was used
};

// The reason to reject a peer's certificate. `error` is one of X509_V_ERR_*, `subject` that of the
// certificate of the chain that caused it, `name` the host name that was expected.
std::string rejection_text(int error, TlsRole role, const std::string& subject,
                           const std::string& name);
// The error to give OpenSSL in place of `error`, so that the alert that it sends tells the peer the
// reason: OpenSSL has one alert for several errors.
int error_for_alert(int error);
// The meaning of a fatal alert that came in a handshake (RFC 8446, section 6.2).
std::string alert_text(int alert, const HandshakeState& state);
// The meaning of OpenSSL's first queued error, which this side noticed. Empties the queue.
std::string failure_text(const HandshakeState& state);

}  // namespace migrate::transport
