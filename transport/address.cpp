// SPDX-License-Identifier: Apache-2.0
#include "transport/address.hpp"

#include <charconv>

namespace migrate::transport {

namespace {

constexpr std::string_view kPassedWord = "systemd";

}  // namespace

std::string Address::text() const {
    if (passed) return std::string(kPassedWord);
    return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                               : fmt::format("[{}]:{}", host, port);
}

Result<Address> parse_address(std::string_view text) {
    const auto refuse = [text](std::string_view why) {
        return make_error(ErrorKind::kUsage, "'{}' is not HOST:PORT: {}", text, why);
    };
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return refuse("there is no ':PORT'");
    std::string_view host = text.substr(0, colon);
    const std::string_view port = text.substr(colon + 1);
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    } else if (host.find(':') != std::string_view::npos) {
        return refuse("write an IPv6 address in brackets, as [::1]:4444");
    }
    if (host.empty()) return refuse("the host is empty; 0.0.0.0 or [::] listens on all addresses");
    Address address;
    address.host = host;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
    if (error != std::errc() || end != port.data() + port.size()) {
        return refuse("the port is not a number from 0 to 65535");
    }
    return address;
}

Result<Address> parse_listen_address(std::string_view text) {
    if (text != kPassedWord) return parse_address(text);
    Address address;
    address.passed = true;
    return address;
}

}  // namespace migrate::transport
