// SPDX-License-Identifier: Apache-2.0
// Makes connections to the receiver, with a deadline and cancellable.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <span>
#include <stop_token>
#include <vector>

#include "base/error.hpp"
#include "transport/endpoint.hpp"
#include "transport/route.hpp"
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
    // Called by connect_alike() once all connections are made, and before they are encrypted. Its
    // Error ends the call.
    std::function<Status()> connected{};
};

// Connects to the first of the host's addresses that answers. If nobody listens there yet, says so
// once in the log and tries again, with growing pauses, until the limit. With TLS, both sides have
// accepted each other when this returns, and the connections of connect_alike() belong to its TLS
// session. kUsage if the connection would be plaintext, is not on this host and security does not
// allow that; kRefused if one side rejects the other; kCancelled when a stop is requested.
Result<Socket> connect_to(const Route& route, const ConnectOptions& options);

// The route that answered.
struct Answer {
    Socket socket;
    std::size_t route = 0;  // its index
};
// The same by the first of the routes that answers, in their order. A route that does not answer
// within a few seconds is tried again after the others. At least one route.
Result<Answer> connect_to_first(std::span<const Route> routes, const ConnectOptions& options);

// Makes `count` connections to `peer`, in parallel. All or none.
Result<std::vector<Socket>> connect_alike(const Endpoint& peer, std::size_t count,
                                          const ConnectOptions& options,
                                          const LocalEnd& local = {});
// The same to the first of the route's addresses that answers.
Result<std::vector<Socket>> connect_alike(const Route& route, std::size_t count,
                                          const ConnectOptions& options);

}  // namespace migrate::transport
