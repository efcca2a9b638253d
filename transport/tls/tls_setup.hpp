// SPDX-License-Identifier: Apache-2.0
// Encrypts connections that this side has made, all at the same time.
#pragma once

#include <span>
#include <stop_token>
#include <string>

#include "base/error.hpp"
#include "base/wait.hpp"
#include "transport/socket.hpp"
#include "transport/tls/tls_endpoint.hpp"

namespace migrate::transport {

struct SetupLimits {
    WaitClock::time_point until;
    std::stop_token stop;
};

// Encrypts the main connection to `host`, and returns once both sides have accepted each other. Its
// session is kept for encrypt_data(). kRefused with the reason of the side that rejects the other,
// kTimeout, kCancelled, kLostConnection; kUsage if this side's own files cannot be used.
Status encrypt_main(TlsEndpoint& tls, Socket& socket, const std::string& host,
                    const SetupLimits& limits);
// Encrypts the data connections of the same session. All or none.
Status encrypt_data(TlsEndpoint& tls, std::span<Socket> sockets, const SetupLimits& limits);

}  // namespace migrate::transport
