// SPDX-License-Identifier: Apache-2.0
// OpenSSL's context for one role, made from the files of certificates or keys. Invariant: it allows
// TLS 1.3 only, and no connection without a check of the peer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "transport/tls/credential_files.hpp"
#include "transport/tls/openssl.hpp"
#include "transport/tls/psk_keys.hpp"

namespace migrate::transport {

// A sender is TLS's client, and a receiver its server.
enum class TlsRole { kClient, kServer };

// The credentials that --tls-creds names.
struct TlsSpec {
    enum class Kind { kX509, kPsk };
    Kind kind = Kind::kX509;
    std::string path{};                  // x509: the folder; psk: the file; empty: a one-time key
    std::string identity{};              // psk; empty: see choose_key()
    std::string hostname{};              // tls-hostname; empty: the host that is connected to
    std::vector<std::string> allowed{};  // patterns of tls-authz; empty: every peer

    std::string_view name() const { return kind == Kind::kX509 ? "x509" : "psk"; }
};

struct TlsContext {
    SslContextPtr ssl;
    PskKeys keys;                       // psk
    const PskKey* own = nullptr;        // psk, client: the key that it uses
    std::vector<FileStamp> stamps;      // of the files that were read
    std::vector<std::string> warnings;  // what a peer will probably object to
};

// Reads the files; for a one-time key it takes `line` instead. kUsage names the file and the fault.
Result<std::shared_ptr<const TlsContext>> load_tls_context(const TlsSpec& spec, TlsRole role,
                                                           std::string_view line);

// A data channel that is added late resumes the session, too.
inline constexpr long kSessionSeconds = 24 * 60 * 60;

// True if the CPU has instructions for AES-GCM.
bool cpu_has_aes();

}  // namespace migrate::transport
