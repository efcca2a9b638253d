// SPDX-License-Identifier: Apache-2.0
// The protection of one connection, as it was agreed on.
#pragma once

#include <string>

namespace migrate::transport {

struct SecurityInfo {
    std::string credentials{};  // "x509" or "psk"; empty: the connection is plaintext
    std::string protocol{};     // "TLSv1.3"
    std::string cipher{};       // "TLS_AES_128_GCM_SHA256"
    std::string peer{};         // subject of the peer's certificate, or the PSK identity

    bool is_encrypted() const { return !credentials.empty(); }
    // "plaintext", or protocol, cipher and peer.
    std::string text() const;
};

}  // namespace migrate::transport
