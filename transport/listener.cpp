// SPDX-License-Identifier: Apache-2.0
#include "transport/listener.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <asio.hpp>
#include <cerrno>
#include <deque>
#include <memory>
#include <vector>

#include "base/catching.hpp"
#include "base/fd.hpp"
#include "base/log.hpp"
#include "base/outcome.hpp"
#include "transport/control_frame.hpp"
#include "transport/endpoint.hpp"
#include "transport/handshake.hpp"
#include "transport/passed_socket.hpp"
#include "transport/pending_connection.hpp"
#include "transport/release_blocking.hpp"
#include "transport/resolver.hpp"

namespace migrate::transport {
namespace {

using asio::ip::tcp;

constexpr std::chrono::milliseconds kAcceptRetry{100};
// Number of ports that the kernel chooses until one is free on all addresses.
constexpr int kMostPorts = 16;

}  // namespace

struct Listener::Impl {
    // One of the addresses.
    struct Entry {
        explicit Entry(asio::io_context& context) : acceptor(context), retry(context) {}

        std::uint16_t port() const {
            asio::error_code error;
            return acceptor.local_endpoint(error).port();
        }
        tcp::acceptor acceptor;
        asio::steady_timer retry;  // delays accepting after an error
    };

    Impl(std::chrono::milliseconds timeout, Security protection)
        : handshake_timeout(timeout), security(std::move(protection)) {
        if (!security.tls) return;
        credentials.emplace(context, [tls = security.tls.get()](std::function<void()> ended) {
            return tls->read(TlsRole::kServer, std::move(ended));
        });
    }
    ~Impl() {
        for (const auto& one : pending) one->close();
    }

    Status bind(std::span<const Address> addresses, const std::stop_token& stop) {
        for (int attempt = 1;; ++attempt) {
            const Status bound = bind_all(addresses, stop);
            if (bound) return {};
            // Only the first address chose a port, which another program has on a further one.
            const bool again = !entries.empty() && addresses.front().port == 0 &&
                               bound.error().kind() == ErrorKind::kLostConnection &&
                               attempt < kMostPorts;
            if (!again) return bound;
            entries.clear();
        }
    }

    Status bind_all(std::span<const Address> addresses, const std::stop_token& stop) {
        for (Address address : addresses) {
            if (address.port == 0 && !entries.empty()) address.port = entries.front()->port();
            entries.push_back(std::make_unique<Entry>(context));
            Status bound = bind(*entries.back(), address, stop);
            if (!bound) {
                entries.pop_back();
                return bound;
            }
        }
        return {};
    }

    static asio::error_code open(tcp::acceptor& acceptor, const tcp& protocol, bool mptcp) {
        asio::error_code error;
        if (!mptcp) {
            acceptor.open(protocol, error);
            return error;
        }
        UniqueFd fd(::socket(protocol.family(), SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
        if (!fd) return {errno, asio::error::get_system_category()};
        acceptor.assign(protocol, fd.get(), error);
        if (!error) static_cast<void>(fd.release());
        return error;
    }

    Status bind(Entry& entry, const Address& address, const std::stop_token& stop) {
        tcp::acceptor& acceptor = entry.acceptor;
        if (address.passed) return adopt_passed(acceptor, address);
        MIGRATE_ASSIGN(const auto resolved,
                       resolve(address, ResolveFor::kListening, "handshake-timeout",
                               {handshake_timeout, stop}));
        MIGRATE_TRY(check_reach(security, address, resolved));
        asio::error_code error;
        const tcp::endpoint endpoint = resolved.front();
        error = open(acceptor, endpoint.protocol(), address.mptcp);
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

    // The socket is bound and listens already.
    Status adopt_passed(tcp::acceptor& acceptor, const Address& address) {
        MIGRATE_ASSIGN(UniqueFd passed, take_passed_socket());
        MIGRATE_ASSIGN(const Endpoint own, Endpoint::own_of(passed.get()));
        if (!own.is_loopback()) MIGRATE_TRY(check_reach_beyond(security, address.text()));
        asio::error_code error;
        const auto protocol = own.data()->sa_family == AF_INET6 ? tcp::v6() : tcp::v4();
        acceptor.assign(protocol, passed.get(), error);
        if (error) {
            return make_error(ErrorKind::kFailed, "cannot listen on {}: {}", address.text(),
                              error.message());
        }
        static_cast<void>(passed.release());
        keep_from_children(acceptor.native_handle());
        return {};
    }

    void accept() {
        for (const auto& entry : entries) accept(*entry);
    }

    void accept(Entry& entry) {
        entry.acceptor.async_accept([this, &entry](const asio::error_code& error,
                                                   tcp::socket socket) {
            if (error == asio::error::operation_aborted) return;
            if (error) {
                if (make_room_after(error, entry)) return;
                // The deadlines of pending connections may help.
                log::warning("cannot accept a connection: {}; trying again soon", error.message());
                entry.retry.expires_after(kAcceptRetry);
                entry.retry.async_wait([this, &entry](const asio::error_code& stopped) {
                    if (!stopped) accept(entry);
                });
                return;
            }
            take(std::move(socket));
            accept(entry);
        });
    }

    // If no descriptor is free, the oldest unknown peer gives up its own, and the connection that
    // waits is accepted. False if there is none.
    bool make_room_after(const asio::error_code& error, Entry& entry) {
        if (error != asio::error::no_descriptors && error.value() != ENFILE) return false;
        const auto stranger = oldest_stranger();
        if (!stranger) return false;
        stranger->give_way(
            "it sent no complete hello before the descriptors were used up "
            "(ulimit -n)");
        // Its descriptor is closed once its handlers have run, which are before this one.
        asio::post(context, [this, &entry] { accept(entry); });
        return true;
    }

    // Begins to learn who made a new connection.
    void take(tcp::socket accepted) {
        Result<UniqueFd> fd = release_blocking(accepted);
        Result<Socket> socket =
            fd ? Socket::adopt(*std::move(fd), StallLimits::both(handshake_timeout))
               : Result<Socket>(std::move(fd).error());
        if (!socket) {
            log::warning("cannot use a connection: {}", socket.error().message());
            return;
        }
        auto one = std::make_shared<PendingConnection>(
            context, *std::move(socket), security.tls.get(), credentials ? &*credentials : nullptr,
            [this](const std::shared_ptr<PendingConnection>& self, const Status& status) {
                std::erase(pending, self);
                finished(*self, status);
            });
        if (pending.size() == kMaxPending) {
            least_promising()->give_way(fmt::format(
                "it sent no complete hello before {} other connections came", kMaxPending));
        }
        pending.push_back(one);
        one->start(handshake_timeout);
    }

    // A sender sends its hello as soon as it is connected, so the connection that has been silent
    // for the longest is the least likely to be a sender. One that is authenticated is one.
    std::shared_ptr<PendingConnection> least_promising() const {
        const auto stranger = oldest_stranger();
        return stranger ? stranger : pending.front();
    }
    // Null if every pending connection is authenticated.
    std::shared_ptr<PendingConnection> oldest_stranger() const {
        const auto stranger = std::find_if(pending.begin(), pending.end(), [](const auto& one) {
            return !one->is_authenticated();
        });
        return stranger == pending.end() ? nullptr : *stranger;
    }

    void finished(PendingConnection& one, const Status& status) {
        if (!status) {
            const bool refused = status.error().kind() == ErrorKind::kRefused;
            log::warning("{}: {}: {}", one.peer(), refused ? "refused" : "closed, not a sender",
                         status.error().message());
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
    std::vector<std::unique_ptr<Entry>> entries;  // in the order of the addresses
    std::chrono::milliseconds handshake_timeout;
    Security security;
    std::optional<CredentialReader> credentials;             // with TLS
    std::deque<std::shared_ptr<PendingConnection>> pending;  // oldest first
    std::deque<NewConnection> arrived;
};

Listener::Listener(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Listener::~Listener() = default;

Result<std::unique_ptr<Listener>> Listener::create(std::span<const Address> addresses,
                                                   std::chrono::milliseconds handshake_timeout,
                                                   const Security& security,
                                                   const std::stop_token& stop) {
    const std::string where = "cannot listen on " + addresses.front().text();
    try {
        auto impl = std::make_unique<Impl>(handshake_timeout, security);
        MIGRATE_TRY(impl->bind(addresses, stop));
        impl->accept();
        return std::unique_ptr<Listener>(new Listener(std::move(impl)));
    } catch (...) {
        return error_of_exception(where, ErrorKind::kLostConnection);
    }
}

std::string Listener::endpoint() const {
    std::string text;
    for (const auto& entry : impl_->entries) {
        const Result<Endpoint> own = Endpoint::own_of(entry->acceptor.native_handle());
        text += fmt::format("{}{}", text.empty() ? "" : " ", own ? own->text() : "?");
    }
    return text;
}

std::uint16_t Listener::port() const { return impl_->entries.front()->port(); }

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
