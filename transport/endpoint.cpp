// SPDX-License-Identifier: Apache-2.0
#include "transport/endpoint.hpp"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace migrate::transport {
namespace {

// "%eth0" for a link-local address, which is of no use without its interface (RFC 4007).
std::string zone_of(const sockaddr_in6& address) {
    if (address.sin6_scope_id == 0 || !IN6_IS_ADDR_LINKLOCAL(&address.sin6_addr)) return "";
    std::array<char, IF_NAMESIZE> name{};
    if (::if_indextoname(address.sin6_scope_id, name.data()) != nullptr)
        return fmt::format("%{}", name.data());
    return fmt::format("%{}", address.sin6_scope_id);
}

}  // namespace

Result<Endpoint> Endpoint::peer_of(int fd) {
    Endpoint end;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&end.address_), &end.size_) == 0) return end;
    return Error::system("get the address of a connection's peer", errno)
        .as(ErrorKind::kLostConnection);
}

Result<Endpoint> Endpoint::own_of(int fd) {
    Endpoint end;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&end.address_), &end.size_) == 0) return end;
    return Error::system("get the address of a socket", errno).as(ErrorKind::kLostConnection);
}

Endpoint Endpoint::of(const sockaddr* address) {
    Endpoint end;
    end.size_ = 0;
    if (address->sa_family == AF_INET) end.size_ = sizeof(sockaddr_in);
    if (address->sa_family == AF_INET6) end.size_ = sizeof(sockaddr_in6);
    std::memcpy(&end.address_, address, end.size_);
    return end;
}

bool Endpoint::is_address() const {
    return address_.ss_family == AF_INET || address_.ss_family == AF_INET6;
}

std::array<unsigned char, 16> Endpoint::bytes() const {
    std::array<unsigned char, 16> bytes{};
    if (address_.ss_family == AF_INET) {
        bytes[10] = bytes[11] = 0xFF;
        const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address_);
        std::memcpy(&bytes[12], &v4->sin_addr, 4);
    } else if (address_.ss_family == AF_INET6) {
        const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address_);
        std::memcpy(bytes.data(), &v6->sin6_addr, bytes.size());
    }
    return bytes;
}

bool Endpoint::is_loopback() const {
    const auto address = bytes();
    in6_addr v6{};
    std::memcpy(&v6, address.data(), address.size());
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && address[12] == 127);
}

bool Endpoint::same_host(const Endpoint& other) const { return bytes() == other.bytes(); }

std::string Endpoint::address() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (address_.ss_family == AF_INET) {
        const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address_);
        ::inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
        return text.data();
    }
    if (address_.ss_family == AF_INET6) {
        const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address_);
        ::inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
        return text.data() + zone_of(*v6);
    }
    return "?";
}

std::string Endpoint::text() const {
    if (address_.ss_family == AF_INET) {
        const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address_);
        return fmt::format("{}:{}", address(), ntohs(v4->sin_port));
    }
    if (address_.ss_family == AF_INET6) {
        const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address_);
        return fmt::format("[{}]:{}", address(), ntohs(v6->sin6_port));
    }
    return "?";
}

std::string peer_name(int fd) {
    const Result<Endpoint> peer = Endpoint::peer_of(fd);
    return peer ? peer->text() : "?";
}

}  // namespace migrate::transport
