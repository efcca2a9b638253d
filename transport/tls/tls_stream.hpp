// SPDX-License-Identifier: Apache-2.0
// A stream whose bytes travel in TLS records, after the handshake.
#pragma once

#include <cstdint>
#include <memory>

#include "transport/stream.hpp"
#include "transport/tls/tls_connection.hpp"

namespace migrate::transport {

// A new key is used after this many records. AES-GCM's limit is 2^24.5 (RFC 8446, section 5.5).
inline constexpr std::uint64_t kRecordsPerKey = std::uint64_t{1} << 22;

// `connection` has completed its handshake. Each side renews the key with which it sends after
// `records_per_key` records, at least 1.
std::unique_ptr<Stream> make_tls_stream(std::unique_ptr<TlsConnection> connection,
                                        std::uint64_t records_per_key = kRecordsPerKey);

}  // namespace migrate::transport
