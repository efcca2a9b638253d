// Makes connections to the receiver, with a deadline and cancellable.
#pragma once

#include <chrono>
#include <cstddef>
#include <stop_token>
#include <vector>

#include "base/error.hpp"
#include "transport/address.hpp"
#include "transport/endpoint.hpp"
#include "transport/security.hpp"
#include "transport/socket.hpp"

namespace migrate::transport {

struct ConnectOptions {
    // Limit for the whole: looking up the name, connecting, and whatever makes the connection
    // ready.
    std::chrono::milliseconds timeout{};
    StallLimits limits{};  // of the sockets that are returned
    std::stop_token stop{};
    Security security{};
};

// Connects to the first of the host's addresses that answers. If nobody listens there yet, says so
// once in the log and tries again, with growing pauses, until the limit. With TLS, both sides have
// accepted each other when this returns, and the connections of connect_alike() belong to its TLS
// session. kUsage if the connection would be plaintext, is not on this host and security does not
// allow that; kRefused if one side rejects the other; kCancelled when a stop is requested.
Result<Socket> connect_to(const Address& address, const ConnectOptions& options);

// Makes `count` connections to `peer`, in parallel. All or none.
Result<std::vector<Socket>> connect_alike(const Endpoint& peer, std::size_t count,
                                          const ConnectOptions& options);

}  // namespace migrate::transport
