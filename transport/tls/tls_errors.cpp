// SPDX-License-Identifier: Apache-2.0
#include "transport/tls/tls_errors.hpp"

#include <openssl/sslerr.h>
#include <openssl/x509_vfy.h>

#include "base/error.hpp"

namespace migrate::transport {
namespace {

std::string_view peer_of(TlsRole role) {
    return role == TlsRole::kClient ? "the receiver" : "the sender";
}

std::string_view this_side_of(TlsRole role) {
    return role == TlsRole::kClient ? "this sender" : "this receiver";
}

bool is_unknown_issuer(int error) {
    switch (error) {
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_CERT_UNTRUSTED:
        case X509_V_ERR_CERT_SIGNATURE_FAILURE:
            return true;
        default:
            return false;
    }
}

// A problem of this side's own list of revoked certificates.
bool concerns_crl(int error) {
    switch (error) {
        case X509_V_ERR_UNABLE_TO_GET_CRL:
        case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
        case X509_V_ERR_CRL_SIGNATURE_FAILURE:
        case X509_V_ERR_CRL_NOT_YET_VALID:
        case X509_V_ERR_CRL_HAS_EXPIRED:
        case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
            return true;
        default:
            return false;
    }
}

// Why the peer does not accept this side's certificate; empty for other alerts.
std::string_view certificate_alert(int alert) {
    switch (alert) {
        case SSL_AD_CERTIFICATE_EXPIRED:
            return "it has expired";
        case SSL_AD_CERTIFICATE_UNKNOWN:
            return "it is not valid yet (or cannot be used for another reason; see the messages "
                   "there)";
        case SSL_AD_CERTIFICATE_REVOKED:
            return "it is revoked";
        case SSL_AD_UNSUPPORTED_CERTIFICATE:
            return "it is not meant for this use (its purposes exclude this side's role)";
        case SSL_AD_UNKNOWN_CA:
        case SSL_AD_DECRYPT_ERROR:
            return "no CA that is trusted there has issued it (ca-cert.pem)";
        default:
            return "";
    }
}

std::string psk_alert(int alert, const HandshakeState& state) {
    if (alert == SSL_AD_HANDSHAKE_FAILURE || alert == TLS1_AD_UNKNOWN_PSK_IDENTITY) {
        return fmt::format(
            "{} does not know the PSK identity '{}', or does not allow it (tls-authz)",
            peer_of(state.role), state.identity);
    }
    if (alert == SSL_AD_ILLEGAL_PARAMETER || alert == SSL_AD_DECRYPT_ERROR) {
        return fmt::format("{} has another key for the PSK identity '{}'", peer_of(state.role),
                           state.identity);
    }
    return "";
}

std::string handshake_alert(const HandshakeState& state) {
    if (state.role == TlsRole::kServer || state.peer_checks_us) {
        return fmt::format("{} does not allow {}: no pattern there matches its names (tls-authz)",
                           peer_of(state.role), this_side_of(state.role));
    }
    return "the receiver does not use certificates: give the sender a pre-shared key (tls-creds "
           "psk:FILE), or the receiver certificates";
}

}  // namespace

std::string rejection_text(int error, TlsRole role, const std::string& subject,
                           const std::string& name) {
    const std::string whose = fmt::format("the certificate '{}' of {}", subject, peer_of(role));
    switch (error) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
            return whose + " has expired: renew it, or check the clock of this host";
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return whose + " is not valid yet: check the clocks of both hosts";
        case X509_V_ERR_CERT_REVOKED:
            return whose + " is revoked (ca-crl.pem)";
        case X509_V_ERR_INVALID_PURPOSE:
            return fmt::format("{} is not meant for a {} (its purposes)", whose,
                               role == TlsRole::kClient ? "server" : "client");
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
            return fmt::format(
                "{} is not for '{}': connect to a name that it has, or give that "
                "name with tls-hostname",
                whose, name);
        default:
            break;
    }
    if (is_unknown_issuer(error)) {
        return whose + " was not issued by a CA that this side trusts (ca-cert.pem)";
    }
    if (concerns_crl(error)) {
        return fmt::format("this side cannot check whether {} is revoked: ca-crl.pem: {}", whose,
                           X509_verify_cert_error_string(error));
    }
    return fmt::format("{} cannot be used: {}", whose, X509_verify_cert_error_string(error));
}

int error_for_alert(int error) {
    // certificate_unknown, which no other error of ours causes.
    if (error == X509_V_ERR_CERT_NOT_YET_VALID) return X509_V_ERR_UNSUPPORTED_NAME_SYNTAX;
    // internal_error
    if (concerns_crl(error)) return X509_V_ERR_UNSPECIFIED;
    // unknown_ca
    if (is_unknown_issuer(error)) return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
    return error;
}

std::string alert_text(int alert, const HandshakeState& state) {
    const std::string_view peer = peer_of(state.role);
    if (alert == SSL_AD_INTERNAL_ERROR) {
        return fmt::format(
            "{} cannot use its own TLS credentials, or has no memory left: see its messages", peer);
    }
    if (alert == SSL_AD_UNEXPECTED_MESSAGE) {
        return fmt::format("{} does not use TLS: give tls-creds to both sides", peer);
    }
    if (alert == SSL_AD_PROTOCOL_VERSION) {
        return fmt::format("{} does not support TLS 1.3", peer);
    }
    if (state.kind == TlsSpec::Kind::kPsk) {
        const std::string text = psk_alert(alert, state);
        if (!text.empty()) return text;
    }
    if (const std::string_view why = certificate_alert(alert); !why.empty()) {
        return fmt::format("{} rejects the certificate of {}: {}", peer, this_side_of(state.role),
                           why);
    }
    if (alert == SSL_AD_BAD_CERTIFICATE) {
        return state.role == TlsRole::kServer
                   ? "the sender rejects the certificate of this receiver: it is not for the name "
                     "that the sender expects (tls-hostname)"
                   : "the receiver rejects the certificate of this sender as bad";
    }
    if (alert == SSL_AD_HANDSHAKE_FAILURE) return handshake_alert(state);
    if (alert == TLS13_AD_CERTIFICATE_REQUIRED) {
        return fmt::format("{} wants a certificate, and this side sent none", peer);
    }
    return fmt::format("{} ended the TLS handshake: {}", peer, SSL_alert_desc_string_long(alert));
}

std::string failure_text(const HandshakeState& state) {
    const int reason = ERR_GET_REASON(ERR_peek_error());
    const std::string text = take_openssl_reason();
    switch (reason) {
        case SSL_R_BINDER_DOES_NOT_VERIFY:
            return fmt::format("{} has another key for the PSK identity '{}'", peer_of(state.role),
                               state.identity);
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
            return "the sender has no certificate: give it tls-creds x509:DIR too";
        case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
        case SSL_R_NO_SHARED_CIPHER:
            if (state.kind != TlsSpec::Kind::kPsk) break;
            return "the sender offers no pre-shared key: give it tls-creds psk:FILE too";
        case SSL_R_WRONG_VERSION_NUMBER:
        case SSL_R_HTTP_REQUEST:
            return fmt::format("{} does not speak TLS", peer_of(state.role));
        case SSL_R_UNSUPPORTED_PROTOCOL:
            return fmt::format("{} does not support TLS 1.3", peer_of(state.role));
        default:
            break;
    }
    return fmt::format("the TLS handshake failed: {}", text);
}

}  // namespace migrate::transport
