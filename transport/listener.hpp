// SPDX-License-Identifier: Apache-2.0
// Accepts connections at the receiver and tells senders from strangers. Invariant: no connection
// can delay another one: TLS handshakes and hellos are read in parallel, each connection under the
// handshake timeout. At most kMaxPending are read at a time, and fewer if descriptors are few; a
// further connection closes the oldest that is not authenticated. With TLS, a connection that is
// given out is encrypted and its peer authenticated.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>

#include "base/error.hpp"
#include "transport/address.hpp"
#include "transport/security.hpp"
#include "transport/socket.hpp"
#include "transport/wire.hpp"

namespace migrate::transport {

// A connection with a valid hello; on a main channel also with the first frame. Its stall
// limits are the handshake timeout until the session sets others.
struct NewConnection {
    Socket socket;
    ConnectionHello hello;
    std::string offer;  // JSON: OFFER of kMain, RESUME of kResume
    std::string peer;
};

class Listener {
  public:
    static constexpr std::size_t kMaxPending = 384;

    // Binds and listens on all addresses, at least one. Port 0 lets the kernel choose; all
    // addresses with port 0 get the same one. A host name is resolved within the handshake timeout;
    // kCancelled when stop is requested meanwhile. kUsage if other hosts could connect, and
    // `security` is plaintext that does not leave this host.
    static Result<std::unique_ptr<Listener>> create(std::span<const Address> addresses,
                                                    std::chrono::milliseconds handshake_timeout,
                                                    const Security& security = {},
                                                    const std::stop_token& stop = {});
    static Result<std::unique_ptr<Listener>> create(const Address& address,
                                                    std::chrono::milliseconds handshake_timeout,
                                                    const Security& security = {},
                                                    const std::stop_token& stop = {}) {
        return create(std::span(&address, 1), handshake_timeout, security, stop);
    }
    ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    // Returns the "HOST:PORT" that it listens on, with the actual port; with several addresses, all
    // of them with blanks between them.
    std::string endpoint() const;
    // The port of the first address.
    std::uint16_t port() const;

    // Returns the next connection with a hello of our version. Strangers are closed and logged;
    // peers of another version are told the reason. kTimeout after `timeout` (none: never),
    // kCancelled when stop is requested.
    Result<NewConnection> next(std::optional<std::chrono::milliseconds> timeout,
                               const std::stop_token& stop);

  private:
    struct Impl;
    explicit Listener(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// Sends the reason for a refusal to the peer if it has room, and closes the connection. Does not
// wait: a peer that does not read must not delay others.
void refuse(Socket socket, std::string_view reason);

}  // namespace migrate::transport
