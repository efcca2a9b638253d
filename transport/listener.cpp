#include "transport/listener.hpp"

#include <asio.hpp>
#include <deque>

#include "base/catching.hpp"
#include "base/log.hpp"
#include "base/outcome.hpp"
#include "transport/control_frame.hpp"
#include "transport/handshake.hpp"
#include "transport/release_blocking.hpp"
#include "transport/resolver.hpp"

namespace migrate::transport {
namespace {

using asio::ip::tcp;

constexpr std::chrono::milliseconds kAcceptRetry{100};

// A connection whose hello, and offer, are not complete yet. It reads through its Socket and uses
// asio only to learn when there is more to read. Anything that must come before the hello, such as
// the handshake of an encrypted connection, is a further step in front of on_hello().
class Pending : public std::enable_shared_from_this<Pending> {
  public:
    using Finished = std::function<void(const std::shared_ptr<Pending>&, const Status&)>;

    Pending(asio::io_context& context, Socket socket, Finished finished)
        : socket_(std::move(socket)),
          input_(context),
          timer_(context),
          peer_(socket_.peer_name()),
          finished_(std::move(finished)) {}
    Pending(const Pending&) = delete;
    Pending& operator=(const Pending&) = delete;
    ~Pending() { forget_descriptor(); }

    void start(std::chrono::milliseconds timeout) {
        asio::error_code failed;
        input_.assign(SocketDescriptor::of(socket_), failed);
        if (failed) return finish(make_error("cannot watch it: {}", failed.message()));
        timer_.expires_after(timeout);
        timer_.async_wait([self = shared_from_this(), timeout](const asio::error_code& error) {
            if (!error) {
                self->finish(make_error(ErrorKind::kTimeout,
                                        "it sent no complete hello within {} ms "
                                        "(handshake-timeout)",
                                        timeout.count()));
            }
        });
        read(hello_bytes_, &Pending::on_hello);
    }

    void give_way() {
        finish(make_error("it sent no complete hello before {} other connections came",
                          Listener::kMaxPending));
    }

    void close() {
        timer_.cancel();
        forget_descriptor();
        socket_.shutdown();
    }

    Result<NewConnection> release() {
        forget_descriptor();
        MIGRATE_TRY(make_blocking(SocketDescriptor::of(socket_)));
        return NewConnection{std::move(socket_), hello_, std::move(offer_), peer_};
    }

    const ConnectionHello& hello() const { return hello_; }
    const std::string& peer() const { return peer_; }

  private:
    using Step = void (Pending::*)();

    // Fills `buffer`, and then calls `next`.
    void read(std::span<std::byte> buffer, Step next) {
        missing_ = buffer;
        next_ = next;
        read_more();
    }

    void read_more() {
        while (!missing_.empty()) {
            const Result<std::size_t> size = socket_.receive_now(missing_);
            if (!size) return finish(size.error());
            if (*size == 0) return await_input();
            missing_ = missing_.subspan(*size);
        }
        (this->*next_)();
    }

    void await_input() {
        input_.async_wait(asio::posix::stream_descriptor::wait_read,
                          [self = shared_from_this()](const asio::error_code& error) {
                              if (!error && self->finished_) self->read_more();
                          });
    }

    void on_hello() {
        Result<ConnectionHello> hello = decode_hello(hello_bytes_);
        if (!hello) return finish(std::move(hello).error());
        hello_ = *hello;
        const bool wants_offer =
            hello_.version == kProtocolVersion && hello_.role == ConnectionRole::kMain;
        if (!wants_offer) return finish({});
        read(frame_header_, &Pending::on_frame_header);
    }

    void on_frame_header() {
        Result<FrameHeader> header = decode_frame_header(frame_header_);
        if (!header) return finish(std::move(header).error());
        if (header->type != FrameType::kOffer) {
            return finish(make_error(ErrorKind::kProtocol, "expected OFFER after the hello, got {}",
                                     name_of(header->type)));
        }
        offer_.resize(header->body_bytes);
        read(std::as_writable_bytes(std::span(offer_)), &Pending::on_offer);
    }

    void on_offer() { finish({}); }

    void finish(const Status& status) {
        timer_.cancel();
        if (auto finished = std::exchange(finished_, nullptr)) finished(shared_from_this(), status);
    }

    // Leaves the descriptor to socket_.
    void forget_descriptor() {
        if (input_.is_open()) input_.release();
    }

    Socket socket_;
    asio::posix::stream_descriptor input_;  // socket_'s descriptor, not owned
    asio::steady_timer timer_;
    std::string peer_;
    Finished finished_;
    std::span<std::byte> missing_;  // the part of the present step's buffer that is not filled
    Step next_ = nullptr;
    HelloBytes hello_bytes_{};
    std::array<std::byte, kFrameHeaderSize> frame_header_{};
    ConnectionHello hello_;
    std::string offer_;
};

}  // namespace

struct Listener::Impl {
    explicit Impl(std::chrono::milliseconds timeout)
        : acceptor(context), retry(context), handshake_timeout(timeout) {}
    ~Impl() {
        for (const auto& one : pending) one->close();
    }

    Status bind(const Address& address, const std::stop_token& stop) {
        MIGRATE_ASSIGN(const auto resolved,
                       resolve(address, ResolveFor::kListening, "handshake-timeout",
                               {handshake_timeout, stop}));
        asio::error_code error;
        const tcp::endpoint endpoint = resolved.front();
        acceptor.open(endpoint.protocol(), error);
        if (!error) keep_from_children(acceptor.native_handle());
        if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
        if (!error) acceptor.bind(endpoint, error);
        if (!error) acceptor.listen(tcp::acceptor::max_listen_connections, error);
        if (error) {
            return make_error(ErrorKind::kLostConnection, "cannot listen on {}: {}", address.text(),
                              error.message());
        }
        return {};
    }

    void accept() {
        acceptor.async_accept([this](const asio::error_code& error, tcp::socket socket) {
            if (error == asio::error::operation_aborted) return;
            if (error) {
                // For example, no descriptor is free: the deadlines of pending connections will
                // free some.
                log::warning("cannot accept a connection: {}; trying again soon", error.message());
                retry.expires_after(kAcceptRetry);
                retry.async_wait([this](const asio::error_code& stopped) {
                    if (!stopped) accept();
                });
                return;
            }
            take(std::move(socket));
            accept();
        });
    }

    // Begins to read the hello of a new connection.
    void take(tcp::socket accepted) {
        Result<UniqueFd> fd = release_blocking(accepted);
        Result<Socket> socket =
            fd ? Socket::adopt(*std::move(fd), StallLimits::both(handshake_timeout))
               : Result<Socket>(std::move(fd).error());
        if (!socket) {
            log::warning("cannot use a connection: {}", socket.error().message());
            return;
        }
        auto one = std::make_shared<Pending>(
            context, *std::move(socket),
            [this](const std::shared_ptr<Pending>& self, const Status& status) {
                std::erase(pending, self);
                finished(*self, status);
            });
        // A sender sends its hello as soon as it is connected, so the connection that has been
        // silent for the longest is the least likely to be a sender.
        if (pending.size() == kMaxPending) pending.front()->give_way();
        pending.push_back(one);
        one->start(handshake_timeout);
    }

    void finished(Pending& one, const Status& status) {
        if (!status) {
            log::warning("{}: closed, not a sender: {}", one.peer(), status.error().message());
            one.close();
            return;
        }
        Result<NewConnection> connection = one.release();
        if (!connection) {
            log::warning("{}: {}", one.peer(), connection.error().message());
            return;
        }
        if (connection->hello.version != kProtocolVersion) {
            const std::string reason = fmt::format(
                "the receiver speaks protocol version {}, the sender version {}: use the same "
                "release of migrate on both hosts",
                kProtocolVersion, connection->hello.version);
            log::warning("{}: refused: {}", one.peer(), reason);
            refuse(std::move(connection->socket), reason);
            return;
        }
        arrived.push_back(*std::move(connection));
        context.stop();
    }

    asio::io_context context;
    tcp::acceptor acceptor;
    asio::steady_timer retry;  // delays accepting after an error
    std::chrono::milliseconds handshake_timeout;
    std::deque<std::shared_ptr<Pending>> pending;  // oldest first
    std::deque<NewConnection> arrived;
};

Listener::Listener(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Listener::~Listener() = default;

Result<std::unique_ptr<Listener>> Listener::create(const Address& address,
                                                   std::chrono::milliseconds handshake_timeout,
                                                   const std::stop_token& stop) {
    const std::string where = "cannot listen on " + address.text();
    try {
        auto impl = std::make_unique<Impl>(handshake_timeout);
        MIGRATE_TRY(impl->bind(address, stop));
        impl->accept();
        return std::unique_ptr<Listener>(new Listener(std::move(impl)));
    } catch (...) {
        return error_of_exception(where, ErrorKind::kLostConnection);
    }
}

std::string Listener::endpoint() const {
    const Result<Endpoint> own = Endpoint::own_of(impl_->acceptor.native_handle());
    return own ? own->text() : "?";
}

std::uint16_t Listener::port() const {
    asio::error_code error;
    return impl_->acceptor.local_endpoint(error).port();
}

Result<NewConnection> Listener::next(std::optional<std::chrono::milliseconds> timeout,
                                     const std::stop_token& stop) {
    try {
        Impl& impl = *impl_;
        asio::steady_timer timer(impl.context);
        // Shared, because a timer that expired just when a connection arrived calls its handler
        // during the next call.
        const auto timed_out = std::make_shared<bool>(false);
        if (timeout) {
            timer.expires_after(*timeout);
            timer.async_wait([&impl, timed_out](const asio::error_code& error) {
                if (error) return;
                *timed_out = true;
                impl.context.stop();
            });
        }
        const std::stop_callback on_stop(stop, [&impl] { impl.context.stop(); });
        while (impl.arrived.empty()) {
            if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
            if (*timed_out) return Error(ErrorKind::kTimeout, "no sender connected in time");
            impl.context.restart();
            // The callback of a stop that was requested between the check and restart() has already
            // run, so that context.stop() would be lost; check again.
            if (stop.stop_requested()) continue;
            impl.context.run();
        }
        NewConnection connection = std::move(impl.arrived.front());
        impl.arrived.pop_front();
        return connection;
    } catch (...) {
        return error_of_exception("cannot accept connections");
    }
}

void refuse(Socket socket, std::string_view reason) {
    const Failure refusal{.reason = std::string(reason),
                          .outcome = std::string(name_of(Outcome::kRefused))};
    const std::string frame = encode_frame(FrameType::kRefuse, encode(refusal));
    // The frame fits into an empty send buffer. A peer that left no room learns from the close.
    static_cast<void>(socket.send_now(std::as_bytes(std::span(frame))));
    socket.finish_sending();
    socket.drain(WaitClock::now());
}

}  // namespace migrate::transport
