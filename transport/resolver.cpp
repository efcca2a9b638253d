// SPDX-License-Identifier: Apache-2.0
#include "transport/resolver.hpp"

#include <netdb.h>

#include <cstring>
#include <string>

namespace migrate::transport {
namespace {

using asio::ip::tcp;
using Endpoints = std::vector<tcp::endpoint>;

Result<Endpoints> look_up(const Address& address, ResolveFor purpose) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    if (purpose == ResolveFor::kListening) hints.ai_flags = AI_PASSIVE;
    addrinfo* list = nullptr;
    const int error =
        ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &list);
    Endpoints endpoints;
    for (const addrinfo* entry = list; error == 0 && entry != nullptr; entry = entry->ai_next) {
        tcp::endpoint endpoint;
        if (entry->ai_addrlen > endpoint.capacity()) continue;
        std::memcpy(endpoint.data(), entry->ai_addr, entry->ai_addrlen);
        endpoint.resize(entry->ai_addrlen);
        endpoints.push_back(endpoint);
    }
    if (list != nullptr) ::freeaddrinfo(list);
    if (error == 0 && !endpoints.empty()) return endpoints;
    return make_error(ErrorKind::kLostConnection, "cannot resolve host name '{}': {}", address.host,
                      error == 0 ? "it has no address" : ::gai_strerror(error));
}

bool is_loopback(const asio::ip::address& address) {
    if (address.is_v6() && address.to_v6().is_v4_mapped()) {
        return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).is_loopback();
    }
    return address.is_loopback();
}

}  // namespace

Status check_reach(const Security& security, const Address& address, const Endpoints& endpoints) {
    for (const tcp::endpoint& endpoint : endpoints) {
        if (!is_loopback(endpoint.address())) return check_reach_beyond(security, address.text());
    }
    return {};
}

Status check_reach_beyond(const Security& security, std::string_view address) {
    if (security.tls || security.plaintext_to_any_host) return {};
    return make_error(
        ErrorKind::kUsage,
        "{} is an address beyond this host, and the channels would not be encrypted: give "
        "--tls-creds x509:DIR or psk:FILE on both sides, or --tls-creds none for plaintext",
        address);
}

Status check_reach(const Security& security, const Address& address) {
    asio::error_code error;
    const auto numeric = asio::ip::make_address(address.host, error);
    if (error) return {};
    return check_reach(security, address, {tcp::endpoint(numeric, address.port)});
}

Result<Endpoints> resolve(const Address& address, ResolveFor purpose, std::string_view option,
                          const CallLimits& limits) {
    asio::error_code error;
    const auto numeric = asio::ip::make_address(address.host, error);
    if (!error) return Endpoints{tcp::endpoint(numeric, address.port)};
    Result<Endpoints> endpoints = call_within<Endpoints>(
        "look up a host name", limits, [address, purpose] { return look_up(address, purpose); });
    if (endpoints || endpoints.error().kind() != ErrorKind::kTimeout) return endpoints;
    return make_error(ErrorKind::kTimeout, "host name '{}' was not resolved within {} ms ({})",
                      address.host, limits.timeout->count(), option);
}

}  // namespace migrate::transport
