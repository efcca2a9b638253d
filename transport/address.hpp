// SPDX-License-Identifier: Apache-2.0
// HOST:PORT as users write it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace migrate::transport {

struct Address {
    std::string host;        // a name, an IPv4 or an IPv6 address without brackets
    std::uint16_t port = 0;  // 0 only if the kernel may choose
    bool passed = false;     // for listening: the socket that the service manager passed
    bool mptcp = false;      // for listening: MPTCP connections are accepted, too

    std::string text() const;
};

// Parses "HOST:PORT" or "[IPV6]:PORT". kUsage for any other text.
Result<Address> parse_address(std::string_view text);
// The same for an address to listen on, which may be the word "systemd": see passed_socket.hpp.
Result<Address> parse_listen_address(std::string_view text);

}  // namespace migrate::transport
