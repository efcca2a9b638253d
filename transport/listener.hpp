// Takes connections at the receiver and tells senders from strangers.
// Invariant: nobody who connects can keep anybody else waiting: hellos are read side by side, each
// under the handshake timeout, and at most kMaxPending of them at a time, beyond which the oldest
// gives way.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "transport/address.hpp"
#include "transport/wire.hpp"

namespace migrate::transport {

// A connection whose hello was in order, and on the main channel the offer's frame as well.
struct NewConnection {
    UniqueFd fd;  // blocking
    ConnectionHello hello;
    std::string offer;             // JSON, kMain only
    std::uint64_t bytes_read = 0;  // what has been consumed of it
    std::string peer;
};

class Listener {
  public:
    static constexpr std::size_t kMaxPending = 384;

    // Binds and listens. Port 0 lets the kernel choose. A host name is resolved within the
    // handshake timeout; kCancelled when stop is requested meanwhile.
    static Result<std::unique_ptr<Listener>> create(const Address& address,
                                                    std::chrono::milliseconds handshake_timeout,
                                                    const std::stop_token& stop = {});
    ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    // "HOST:PORT" it listens on, with the port in use.
    std::string endpoint() const;
    std::uint16_t port() const;

    // The next connection with a hello of our version. Strangers are closed and logged; peers of
    // another version are told so. kTimeout after `timeout` (none: never), kCancelled when stop is
    // requested.
    Result<NewConnection> next(std::optional<std::chrono::milliseconds> timeout,
                               const std::stop_token& stop);

  private:
    struct Impl;
    explicit Listener(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// Tells a peer why it is not served, best effort, and closes the connection.
void refuse(UniqueFd fd, std::string_view reason);

}  // namespace migrate::transport
