// SPDX-License-Identifier: Apache-2.0
// Resolves host names to addresses. Includes asio, so include it only in .cpp files that use asio.
#pragma once

#include <asio.hpp>
#include <string_view>
#include <vector>

#include "base/blocking_call.hpp"
#include "base/error.hpp"
#include "transport/address.hpp"
#include "transport/security.hpp"

namespace migrate::transport {

enum class ResolveFor { kConnecting, kListening };

// Returns the host's addresses, at least one, in the system's order. A numeric address needs no
// look-up. kTimeout names `option`, which set the timeout; kCancelled when stop is requested.
Result<std::vector<asio::ip::tcp::endpoint>> resolve(const Address& address, ResolveFor purpose,
                                                     std::string_view option,
                                                     const CallLimits& limits);

// Does what check_reach() of security.hpp does, for the endpoints of an address.
Status check_reach(const Security& security, const Address& address,
                   const std::vector<asio::ip::tcp::endpoint>& endpoints);
// The same for `address`, which other hosts can reach.
Status check_reach_beyond(const Security& security, std::string_view address);

}  // namespace migrate::transport
