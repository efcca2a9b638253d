// SPDX-License-Identifier: Apache-2.0
// A connection that the listener has accepted and does not know yet: the TLS handshake, the hello
// and the offer are still to come. Includes asio, so include it only in .cpp files that use asio.
// Invariant: nothing here waits; it reads through its Socket and uses asio only to learn when
// there is more to read.
#pragma once

#include <asio.hpp>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "transport/control_frame.hpp"
#include "transport/credential_reader.hpp"
#include "transport/listener.hpp"
#include "transport/socket.hpp"
#include "transport/tls/tls_handshake.hpp"
#include "transport/wire.hpp"

namespace migrate::transport {

class PendingConnection : public std::enable_shared_from_this<PendingConnection> {
  public:
    // Called once, with an Error if it is no sender that can be served.
    using Finished = std::function<void(const std::shared_ptr<PendingConnection>&, const Status&)>;

    // `tls` and `credentials` are null for plaintext; they outlive the object.
    PendingConnection(asio::io_context& context, Socket socket, TlsEndpoint* tls,
                      CredentialReader* credentials, Finished finished)
        : socket_(std::move(socket)),
          input_(context),
          timer_(context),
          peer_(socket_.peer_name()),
          tls_(tls),
          credentials_(credentials),
          finished_(std::move(finished)) {}
    PendingConnection(const PendingConnection&) = delete;
    PendingConnection& operator=(const PendingConnection&) = delete;
    ~PendingConnection() { forget_descriptor(); }

    void start(std::chrono::milliseconds timeout);
    // Gives up in favour of a newer connection, for this reason.
    void give_way(std::string_view reason);
    // Closes the connection. The peer is told the reason if it can understand it.
    void close();
    // Gives out the connection once it is finished.
    Result<NewConnection> release();

    // True if the peer has proved that it has valid credentials.
    bool is_authenticated() const { return socket_.security().is_encrypted(); }
    const std::string& peer() const { return peer_; }

  private:
    using Step = void (PendingConnection::*)();

    // Fills `buffer`, and then calls `next`.
    void read(std::span<std::byte> buffer, Step next);
    void read_more();
    // Calls `next` once there is input or room.
    void await(asio::posix::stream_descriptor::wait_type what, Step next);
    void look_at_first_byte();
    void refuse_plaintext();
    void ask_for_credentials();
    void begin_handshake(const Result<std::shared_ptr<const TlsContext>>& context);
    void fail_credentials(Error error);
    void go_on_with_handshake();
    void on_hello();
    void on_frame_header();
    void on_offer() { finish({}); }
    void time_out();
    void finish(const Status& status);
    // Leaves the descriptor to socket_.
    void forget_descriptor();

    Socket socket_;
    asio::posix::stream_descriptor input_;  // socket_'s descriptor, not owned
    asio::steady_timer timer_;
    std::chrono::milliseconds timeout_{};
    std::string peer_;
    TlsEndpoint* tls_;
    CredentialReader* credentials_;
    bool awaits_credentials_ = false;
    std::unique_ptr<TlsHandshake> handshake_;
    Finished finished_;
    std::span<std::byte> missing_;  // the part of the present step's buffer that is not filled
    Step next_ = nullptr;
    HelloBytes hello_bytes_{};
    std::array<std::byte, kFrameHeaderSize> frame_header_{};
    ConnectionHello hello_;
    bool needs_tls_ = false;  // the peer is a sender that does not encrypt
    std::string offer_;
};

}  // namespace migrate::transport
