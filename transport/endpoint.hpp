// The numeric address of one end of a connection.
#pragma once

#include <sys/socket.h>

#include <string>

#include "base/error.hpp"

namespace migrate::transport {

class Endpoint {
  public:
    // The ends of the socket `fd`; kLostConnection if it is not connected, or not bound.
    static Result<Endpoint> peer_of(int fd);
    static Result<Endpoint> own_of(int fd);

    // "ADDRESS:PORT", or "[ADDRESS]:PORT" for IPv6.
    std::string text() const;
    const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&address_); }
    socklen_t size() const { return size_; }

  private:
    sockaddr_storage address_{};
    socklen_t size_ = sizeof(sockaddr_storage);
};

// Returns peer_of(fd).text(); "?" if it is not connected.
std::string peer_name(int fd);

}  // namespace migrate::transport
