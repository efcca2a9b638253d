// SPDX-License-Identifier: Apache-2.0
#include "transport/connector.hpp"

#include <netinet/in.h>

#include <algorithm>
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

// Opens a socket for this family, bound to this host's end.
asio::error_code open_at(tcp::socket& socket, const tcp& protocol, const LocalEnd& local) {
    asio::error_code error;
    if (local.mptcp) {
        UniqueFd fd(::socket(protocol.family(), SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
        if (!fd) return {errno, asio::error::get_system_category()};
        socket.assign(protocol, fd.get(), error);
        if (!error) static_cast<void>(fd.release());
    } else {
        socket.open(protocol, error);
    }
    if (error) return error;
    if (!local.device.empty() &&
        ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_BINDTODEVICE, local.device.data(),
                     static_cast<socklen_t>(local.device.size())) != 0) {
        return {errno, asio::error::get_system_category()};
    }
    if (local.address.empty()) return error;
    // The kernel chooses the port later, when it knows the other end: so the ports do not run out.
    const int on = 1;
    static_cast<void>(
        ::setsockopt(socket.native_handle(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on));
    const asio::ip::address own = asio::ip::make_address(local.address, error);
    if (!error) socket.bind({own, 0}, error);
    return error;
}

// The endpoints that can be reached from this host's end. kUsage if there is none.
Result<std::vector<tcp::endpoint>> reachable_from(const LocalEnd& local, const Address& address,
                                                  std::vector<tcp::endpoint> endpoints) {
    if (local.address.empty()) return endpoints;
    asio::error_code error;
    const asio::ip::address own = asio::ip::make_address(local.address, error);
    std::erase_if(endpoints, [&own](const tcp::endpoint& endpoint) {
        return endpoint.address().is_v4() != own.is_v4();
    });
    if (!endpoints.empty()) return endpoints;
    return make_error(ErrorKind::kUsage, "path local={}: {} has no IPv{} address", local.address,
                      address.host, own.is_v4() ? 4 : 6);
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
    // `until`: the limit. The endpoints, at least one, and the rest outlive this object.
    Attempts(std::size_t count, const std::vector<tcp::endpoint>& endpoints, const LocalEnd& local,
             WaitClock::time_point until, const ConnectOptions& options)
        : timer_(context_, until),
          pending_(count),
          endpoints_(endpoints),
          local_(local),
          options_(options) {
        for (std::size_t i = 0; i < count; ++i) sockets_.emplace_back(context_);
    }

    Status run() {
        for (tcp::socket& socket : sockets_) begin(socket, 0);
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
        if (may_pass(first_error_))
            return Error(ErrorKind::kLostConnection, first_error_.message());
        return make_error(ErrorKind::kFailed, "{}{}", first_error_.message(),
                          remedy_of(first_error_, endpoints_.front()));
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
    // Tries the endpoints from this one on, one after the other.
    void begin(tcp::socket& socket, std::size_t endpoint) {
        asio::error_code ignored;
        socket.close(ignored);
        const tcp::endpoint& peer = endpoints_[endpoint];
        if (const asio::error_code error = open_at(socket, peer.protocol(), local_)) {
            return end(socket, endpoint, error);
        }
        socket.async_connect(peer, [this, &socket, endpoint](asio::error_code error) {
            if (!error && is_itself(socket, endpoints_[endpoint])) {
                error = asio::error::connection_refused;
            }
            end(socket, endpoint, error);
        });
    }
    void end(tcp::socket& socket, std::size_t endpoint, const asio::error_code& error) {
        if (error && endpoint + 1 < endpoints_.size()) return begin(socket, endpoint + 1);
        if (error && !first_error_) first_error_ = error;
        if (error || --pending_ == 0) context_.stop();
    }

    asio::io_context context_;
    asio::steady_timer timer_;
    std::vector<tcp::socket> sockets_;
    std::size_t pending_;
    const std::vector<tcp::endpoint>& endpoints_;
    const LocalEnd& local_;
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

// A route whose name was looked up.
struct Target {
    const Route& route;
    std::vector<tcp::endpoint> endpoints;
    std::string where;
};

Result<Target> find_target(const Route& route, const ConnectOptions& options) {
    MIGRATE_ASSIGN(auto endpoints, resolve(route.remote, ResolveFor::kConnecting, "connect-timeout",
                                           {options.timeout, options.stop}));
    MIGRATE_TRY(check_reach(options.security, route.remote, endpoints));
    MIGRATE_ASSIGN(endpoints, reachable_from(route.local, route.remote, std::move(endpoints)));
    return Target{route, std::move(endpoints), route.text()};
}

// One attempt for all. An Error of kind kLostConnection if a later attempt may succeed.
Result<std::vector<Socket>> connect_all(const Target& target, std::size_t count,
                                        WaitClock::time_point until,
                                        const ConnectOptions& options) {
    try {
        Attempts attempts(count, target.endpoints, target.route.local, until, options);
        MIGRATE_TRY(attempts.run());
        return attempts.release();
    } catch (...) {
        return error_of_exception(fmt::format("cannot connect to {}", target.where));
    }
}

// The pauses between attempts to reach a receiver that may not be up yet.
constexpr std::chrono::milliseconds kFirstPause{20};
constexpr std::chrono::milliseconds kLongestPause{1000};

void say_waiting(std::string_view where, const Error& error, const ConnectOptions& options) {
    log::info("waiting for a receiver at {}: {}; connect-timeout is {} ms", where, error.message(),
              options.timeout.count());
}

// Attempts to reach a receiver that may not be up yet.
Result<Socket> connect_main(const Target& target, WaitClock::time_point until,
                            const ConnectOptions& options) {
    const StopWait pause(options.stop);
    for (auto length = kFirstPause;; length = std::min(2 * length, kLongestPause)) {
        auto connections = connect_all(target, 1, until, options);
        if (connections) return std::move(connections->front());
        Error error = std::move(connections).error();
        if (error.kind() != ErrorKind::kLostConnection) {
            return explain(std::move(error), target.where, options.timeout);
        }
        if (WaitClock::now() + length >= until) {
            return explain(std::move(error), target.where, options.timeout,
                           fmt::format(" for {} ms (connect-timeout)", options.timeout.count()));
        }
        if (length == kFirstPause) say_waiting(target.where, error, options);
        MIGRATE_TRY(pause.wait(-1, 0, length));
    }
}

Status encrypt(Socket& socket, const Target& target, const SetupLimits& limits,
               const ConnectOptions& options) {
    if (!options.security.tls) return {};
    Status encrypted =
        encrypt_main(*options.security.tls, socket, target.route.remote.host, limits);
    if (encrypted) return {};
    return explain_tls(std::move(encrypted).error(), target.where, options.timeout);
}

// A route that takes longer lets another one try.
constexpr std::chrono::milliseconds kTurn{2000};

// One attempt by a route of several, at most for kTurn.
Result<Socket> take_turn(const Route& route, const SetupLimits& limits,
                         const ConnectOptions& options) {
    ConnectOptions turn = options;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(limits.until - WaitClock::now());
    turn.timeout = std::clamp(left, std::chrono::milliseconds(1), kTurn);
    MIGRATE_ASSIGN(const Target target, find_target(route, turn));
    auto connected = connect_all(target, 1, after(turn.timeout), turn);
    if (!connected) return explain(std::move(connected).error(), target.where, turn.timeout);
    MIGRATE_TRY(encrypt(connected->front(), target, limits, options));
    return std::move(connected->front());
}

// Encrypts the connections, which are all to the same peer.
Result<std::vector<Socket>> finish_alike(Result<std::vector<Socket>> connections,
                                         std::string_view where, const SetupLimits& limits,
                                         const ConnectOptions& options) {
    if (!connections) return explain(std::move(connections).error(), where, options.timeout);
    if (options.connected) MIGRATE_TRY(options.connected());
    if (!options.security.tls) return connections;
    Status encrypted = encrypt_data(*options.security.tls, *connections, limits);
    if (encrypted) return connections;
    return explain_tls(std::move(encrypted).error(), where, options.timeout);
}

}  // namespace

Result<Socket> connect_to(const Route& route, const ConnectOptions& options) {
    const SetupLimits limits = limits_of(options);
    MIGRATE_ASSIGN(const Target target, find_target(route, options));
    MIGRATE_ASSIGN(Socket socket, connect_main(target, limits.until, options));
    MIGRATE_TRY(encrypt(socket, target, limits, options));
    return socket;
}

Result<Answer> connect_to_first(std::span<const Route> routes, const ConnectOptions& options) {
    if (routes.size() == 1) {
        MIGRATE_ASSIGN(Socket socket, connect_to(routes.front(), options));
        return Answer{std::move(socket), 0};
    }
    const SetupLimits limits = limits_of(options);
    const StopWait pause(options.stop);
    for (auto length = kFirstPause;; length = std::min(2 * length, kLongestPause)) {
        std::string reasons;
        for (std::size_t i = 0; i < routes.size(); ++i) {
            auto socket = take_turn(routes[i], limits, options);
            if (socket) return Answer{*std::move(socket), i};
            Error error = std::move(socket).error();
            const ErrorKind kind = error.kind();
            if (kind != ErrorKind::kLostConnection && kind != ErrorKind::kTimeout) return error;
            reasons += fmt::format("{}{}", reasons.empty() ? "" : "; ", error.message());
        }
        if (WaitClock::now() + length >= limits.until) {
            return make_error(ErrorKind::kLostConnection,
                              "no path leads to the receiver within {} ms (connect-timeout): {}",
                              options.timeout.count(), reasons);
        }
        if (length == kFirstPause) {
            say_waiting(routes.front().text(),
                        Error(ErrorKind::kLostConnection, "no path leads there yet"), options);
        }
        MIGRATE_TRY(pause.wait(-1, 0, length));
    }
}

Result<std::vector<Socket>> connect_alike(const Endpoint& peer, std::size_t count,
                                          const ConnectOptions& options, const LocalEnd& local) {
    const SetupLimits limits = limits_of(options);
    tcp::endpoint endpoint;
    std::memcpy(endpoint.data(), peer.data(),
                std::min<std::size_t>(peer.size(), endpoint.capacity()));
    endpoint.resize(peer.size());
    const Route route({}, local);
    const Target target{route, {endpoint}, peer.text()};
    return finish_alike(connect_all(target, count, limits.until, options), target.where, limits,
                        options);
}

Result<std::vector<Socket>> connect_alike(const Route& route, std::size_t count,
                                          const ConnectOptions& options) {
    const SetupLimits limits = limits_of(options);
    MIGRATE_ASSIGN(const Target target, find_target(route, options));
    return finish_alike(connect_all(target, count, limits.until, options), target.where, limits,
                        options);
}

}  // namespace migrate::transport
