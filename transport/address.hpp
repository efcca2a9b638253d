// HOST:PORT as users write it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace migrate::transport {

struct Address {
    std::string host;        // a name, an IPv4 or an IPv6 address without brackets
    std::uint16_t port = 0;  // 0 only where the kernel may choose

    std::string text() const;
};

// "HOST:PORT" or "[IPV6]:PORT". kUsage if it is neither.
Result<Address> parse_address(std::string_view text);

}  // namespace migrate::transport
