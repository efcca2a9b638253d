#include "transport/connector.hpp"

#include <asio.hpp>
#include <cerrno>
#include <cstring>

#include "base/catching.hpp"
#include "base/fd.hpp"
#include "base/log.hpp"
#include "base/wait.hpp"
#include "transport/release_blocking.hpp"
#include "transport/resolver.hpp"
#include "transport/tls/tls_setup.hpp"

namespace migrate::transport {
namespace {

using asio::ip::tcp;

// Returns true if the reason may be gone at the next attempt: the receiver or its host is not up
// yet.
bool may_pass(const asio::error_code& error) {
    namespace reasons = asio::error;
    return error == reasons::connection_refused || error == reasons::connection_reset ||
           error == reasons::host_unreachable || error == reasons::network_unreachable ||
           error == reasons::timed_out;
}

// Within a host, a connection to a port that nobody has may get that port as its own, and then is
// connected to itself (RFC 9293, simultaneous open).
bool is_itself(const tcp::socket& socket, const tcp::endpoint& peer) {
    asio::error_code ignored;
    return socket.local_endpoint(ignored) == peer;
}

// asio reports "operation aborted" if it could not make a socket; another attempt tells why.
asio::error_code reason_of(const asio::error_code& error, const tcp::endpoint& endpoint) {
    if (error != asio::error::operation_aborted) return error;
    const tcp protocol = endpoint.protocol();
    const UniqueFd another(
        ::socket(protocol.family(), protocol.type() | SOCK_CLOEXEC, protocol.protocol()));
    return another ? error : asio::error_code(errno, asio::error::get_system_category());
}

// Text that goes behind the reason of a failure that a later attempt cannot mend.
std::string_view remedy_of(const asio::error_code& error, const tcp::endpoint& endpoint) {
    if (error == asio::error::no_descriptors) return " (raise the limit ulimit -n)";
    if (error.value() == EINVAL && endpoint.address().is_v6() &&
        endpoint.address().to_v6().is_link_local() && endpoint.address().to_v6().scope_id() == 0) {
        return " (a link-local address needs its interface: [fe80::1%eth0]:4444)";
    }
    return "";
}

// Several connection attempts under one deadline.
class Attempts {
  public:
    // `until`: the limit.
    Attempts(std::size_t count, WaitClock::time_point until, const ConnectOptions& options)
        : timer_(context_, until), pending_(count), options_(options) {
        for (std::size_t i = 0; i < count; ++i) sockets_.emplace_back(context_);
    }

    Status run(const std::vector<tcp::endpoint>& endpoints) {
        for (tcp::socket& socket : sockets_) {
            asio::async_connect(socket, endpoints,
                                [this, &socket](asio::error_code error, const tcp::endpoint& peer) {
                                    if (!error && is_itself(socket, peer)) {
                                        error = asio::error::connection_refused;
                                    }
                                    if (error && !first_error_) first_error_ = error;
                                    if (error || --pending_ == 0) context_.stop();
                                });
        }
        timer_.async_wait([this](const asio::error_code& error) {
            if (error) return;
            timed_out_ = true;
            context_.stop();
        });
        const std::stop_callback on_stop(options_.stop, [this] { context_.stop(); });
        context_.run();
        if (options_.stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        if (timed_out_) return Error(ErrorKind::kTimeout, "no answer");
        if (!first_error_) return {};
        const asio::error_code reason = reason_of(first_error_, endpoints.front());
        if (may_pass(reason)) return Error(ErrorKind::kLostConnection, reason.message());
        return make_error(ErrorKind::kFailed, "{}{}", reason.message(),
                          remedy_of(reason, endpoints.front()));
    }

    Result<std::vector<Socket>> release() {
        std::vector<Socket> connections;
        for (tcp::socket& socket : sockets_) {
            MIGRATE_ASSIGN(UniqueFd fd, release_blocking(socket));
            MIGRATE_ASSIGN(Socket connection, Socket::adopt(std::move(fd), options_.limits));
            connections.push_back(std::move(connection));
        }
        return connections;
    }

  private:
    asio::io_context context_;
    asio::steady_timer timer_;
    std::vector<tcp::socket> sockets_;
    std::size_t pending_;
    const ConnectOptions& options_;
    asio::error_code first_error_;
    bool timed_out_ = false;
};

// `waited`: the text goes behind the reason, " for 10000 ms (connect-timeout)".
Error explain(Error error, std::string_view where, std::chrono::milliseconds timeout,
              std::string_view waited = "") {
    if (error.kind() == ErrorKind::kCancelled) return error;
    if (error.kind() == ErrorKind::kTimeout) {
        return make_error(ErrorKind::kTimeout,
                          "cannot connect to {}: no answer within {} ms (connect-timeout)", where,
                          timeout.count());
    }
    if (error.kind() == ErrorKind::kFailed) {
        return make_error(ErrorKind::kLostConnection, "cannot connect to {}: {}", where,
                          error.message());
    }
    return make_error(
        ErrorKind::kLostConnection,
        "cannot connect to {}: {}{} (is `migrate recv` listening there, and the port open?)", where,
        error.message(), waited);
}

// The limit that connect-timeout sets for all steps together.
SetupLimits limits_of(const ConnectOptions& options) {
    return {after(options.timeout), options.stop};
}

// Says with whom the encryption failed.
Error explain_tls(Error error, std::string_view where, std::chrono::milliseconds timeout) {
    if (error.kind() == ErrorKind::kCancelled || error.kind() == ErrorKind::kUsage) return error;
    if (error.kind() == ErrorKind::kTimeout) {
        return make_error(ErrorKind::kTimeout,
                          "{}: the TLS handshake was not completed within {} ms "
                          "(connect-timeout)",
                          where, timeout.count());
    }
    return std::move(error).with_context(fmt::format("TLS with {}", where));
}

// One attempt for all. An Error of kind kLostConnection if a later attempt may succeed.
Result<std::vector<Socket>> connect_all(const std::vector<tcp::endpoint>& endpoints,
                                        std::size_t count, std::string_view where,
                                        WaitClock::time_point until,
                                        const ConnectOptions& options) {
    try {
        Attempts attempts(count, until, options);
        MIGRATE_TRY(attempts.run(endpoints));
        return attempts.release();
    } catch (...) {
        return error_of_exception(fmt::format("cannot connect to {}", where));
    }
}

// Attempts to reach a receiver that may not be up yet.
Result<Socket> connect_main(const std::vector<tcp::endpoint>& endpoints, std::string_view where,
                            WaitClock::time_point until, const ConnectOptions& options) {
    constexpr std::chrono::milliseconds kFirstPause{20};
    constexpr std::chrono::milliseconds kLongestPause{1000};
    const StopWait pause(options.stop);
    for (auto length = kFirstPause;; length = std::min(2 * length, kLongestPause)) {
        auto connections = connect_all(endpoints, 1, where, until, options);
        if (connections) return std::move(connections->front());
        Error error = std::move(connections).error();
        if (error.kind() != ErrorKind::kLostConnection) {
            return explain(std::move(error), where, options.timeout);
        }
        if (WaitClock::now() + length >= until) {
            return explain(std::move(error), where, options.timeout,
                           fmt::format(" for {} ms (connect-timeout)", options.timeout.count()));
        }
        if (length == kFirstPause) {
            log::info("waiting for a receiver at {}: {}; connect-timeout is {} ms", where,
                      error.message(), options.timeout.count());
        }
        MIGRATE_TRY(pause.wait(-1, 0, length));
    }
}

}  // namespace

Result<Socket> connect_to(const Address& address, const ConnectOptions& options) {
    const SetupLimits limits = limits_of(options);
    MIGRATE_ASSIGN(const auto endpoints,
                   resolve(address, ResolveFor::kConnecting, "connect-timeout",
                           {options.timeout, options.stop}));
    MIGRATE_TRY(check_reach(options.security, address, endpoints));
    MIGRATE_ASSIGN(Socket socket, connect_main(endpoints, address.text(), limits.until, options));
    if (options.security.tls) {
        Status encrypted = encrypt_main(*options.security.tls, socket, address.host, limits);
        if (!encrypted) {
            return explain_tls(std::move(encrypted).error(), address.text(), options.timeout);
        }
    }
    return socket;
}

Result<std::vector<Socket>> connect_alike(const Endpoint& peer, std::size_t count,
                                          const ConnectOptions& options) {
    const SetupLimits limits = limits_of(options);
    tcp::endpoint endpoint;
    std::memcpy(endpoint.data(), peer.data(),
                std::min<std::size_t>(peer.size(), endpoint.capacity()));
    endpoint.resize(peer.size());
    auto connections = connect_all({endpoint}, count, peer.text(), limits.until, options);
    if (!connections) {
        return explain(std::move(connections).error(), peer.text(), options.timeout);
    }
    if (options.security.tls) {
        Status encrypted = encrypt_data(*options.security.tls, *connections, limits);
        if (!encrypted) {
            return explain_tls(std::move(encrypted).error(), peer.text(), options.timeout);
        }
    }
    return connections;
}

}  // namespace migrate::transport
