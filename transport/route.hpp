// SPDX-License-Identifier: Apache-2.0
// A way to the receiver: where to connect, and from where.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "transport/address.hpp"

namespace migrate::transport {

// This host's end of a route. Address or device may be set; without them the kernel decides.
struct LocalEnd {
    std::string address{};  // numeric
    std::string device{};   // name of a network interface
    bool mptcp = false;     // asks the peer for MPTCP, which it need not accept
};

struct Route {
    Route() = default;
    // Implicit on purpose: an address alone is a route.
    Route(Address to, LocalEnd from = {}) : remote(std::move(to)), local(std::move(from)) {}
    Route(std::string host, std::uint16_t port) : remote{std::move(host), port} {}

    Address remote;
    LocalEnd local;

    // "HOST:PORT", with " from ADDRESS" or " by INTERFACE" if that is set.
    std::string text() const;
};

// Checks that `address` is numeric. kUsage if it is not.
Status check_numeric(const std::string& address);
// Checks that this host has the address or the interface now, and MPTCP if it is asked for. kUsage
// if it has not.
Status check_local(const LocalEnd& local);
// kUsage if the kernel has no MPTCP.
Status check_mptcp();

}  // namespace migrate::transport
