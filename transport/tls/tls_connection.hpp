// SPDX-License-Identifier: Apache-2.0
// An SSL object on a socket. Invariants: no call waits, whatever the mode of the descriptor is;
// no call raises SIGPIPE.
#pragma once

#include <memory>

#include "base/error.hpp"
#include "transport/tls/openssl.hpp"

namespace migrate::transport {

struct TlsConnection {
    int fd = -1;  // not owned
    // The next record is part of a larger message: the kernel may wait for more before it sends.
    bool more_follows = false;
    // Set by the last call: the connection had no byte to read, or failed with this errno.
    bool is_starved = false;
    int error = 0;
    SslPtr ssl{};
};

// `fd` is connected and outlives the object.
Result<std::unique_ptr<TlsConnection>> make_tls_connection(int fd, SSL_CTX* context);

}  // namespace migrate::transport
