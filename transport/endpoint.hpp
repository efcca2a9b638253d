// SPDX-License-Identifier: Apache-2.0
// The numeric address of one end of a connection.
#pragma once

#include <sys/socket.h>

#include <array>
#include <string>

#include "base/error.hpp"

namespace migrate::transport {

class Endpoint {
  public:
    // The ends of the socket `fd`; kLostConnection if it is not connected, or not bound.
    static Result<Endpoint> peer_of(int fd);
    static Result<Endpoint> own_of(int fd);
    // Copies an IPv4 or IPv6 address; is_address() is false for any other family.
    static Endpoint of(const sockaddr* address);

    // True for IPv4 and IPv6.
    bool is_address() const;
    // "ADDRESS:PORT", or "[ADDRESS]:PORT" for IPv6.
    std::string text() const;
    // The same without the port and the brackets; with the interface of a link-local address.
    std::string address() const;
    // True for 127.0.0.0/8, ::1 and the IPv4 addresses in IPv6 form.
    bool is_loopback() const;
    // True if both have the same address, whatever their ports are.
    bool same_host(const Endpoint& other) const;
    const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&address_); }
    socklen_t size() const { return size_; }

  private:
    // The address as IPv6 has it, in network byte order; zeros for any other family.
    std::array<unsigned char, 16> bytes() const;

    sockaddr_storage address_{};
    socklen_t size_ = sizeof(sockaddr_storage);
};

// Returns peer_of(fd).text(); "?" if it is not connected.
std::string peer_name(int fd);

}  // namespace migrate::transport
