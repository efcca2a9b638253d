#include "transport/connector.hpp"

#include <asio.hpp>
#include <cstring>

#include "base/catching.hpp"
#include "transport/release_blocking.hpp"
#include "transport/resolver.hpp"
#include "transport/tls/tls_setup.hpp"

namespace migrate::transport {
namespace {

using asio::ip::tcp;

// Several connection attempts under one deadline.
class Attempts {
  public:
    Attempts(std::size_t count, const ConnectOptions& options)
        : timer_(context_, options.timeout), pending_(count), options_(options) {
        for (std::size_t i = 0; i < count; ++i) sockets_.emplace_back(context_);
    }

    Status run(const std::vector<tcp::endpoint>& endpoints) {
        for (tcp::socket& socket : sockets_) {
            asio::async_connect(socket, endpoints,
                                [this](const asio::error_code& error, const tcp::endpoint&) {
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
        if (first_error_) return Error(first_error_.message());
        return {};
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

Error explain(Error error, std::string_view where, std::chrono::milliseconds timeout) {
    if (error.kind() == ErrorKind::kCancelled) return error;
    if (error.kind() == ErrorKind::kTimeout) {
        return make_error(ErrorKind::kTimeout,
                          "cannot connect to {}: no answer within {} ms (connect-timeout)", where,
                          timeout.count());
    }
    return make_error(
        ErrorKind::kLostConnection,
        "cannot connect to {}: {} (is `migrate recv` listening there, and the port open?)", where,
        error.message());
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

Result<std::vector<Socket>> connect_all(const std::vector<tcp::endpoint>& endpoints,
                                        std::size_t count, std::string_view where,
                                        const ConnectOptions& options) {
    const std::string to = fmt::format("cannot connect to {}", where);
    try {
        Attempts attempts(count, options);
        Status status = attempts.run(endpoints);
        if (!status) return explain(std::move(status).error(), where, options.timeout);
        return attempts.release();
    } catch (...) {
        return error_of_exception(to);
    }
}

}  // namespace

Result<Socket> connect_to(const Address& address, const ConnectOptions& options) {
    const SetupLimits limits = limits_of(options);
    MIGRATE_ASSIGN(const auto endpoints,
                   resolve(address, ResolveFor::kConnecting, "connect-timeout",
                           {options.timeout, options.stop}));
    MIGRATE_TRY(check_reach(options.security, address, endpoints));
    MIGRATE_ASSIGN(auto connections, connect_all(endpoints, 1, address.text(), options));
    Socket& socket = connections.front();
    if (options.security.tls) {
        Status encrypted = encrypt_main(*options.security.tls, socket, address.host, limits);
        if (!encrypted) {
            return explain_tls(std::move(encrypted).error(), address.text(), options.timeout);
        }
    }
    return std::move(socket);
}

Result<std::vector<Socket>> connect_alike(const Endpoint& peer, std::size_t count,
                                          const ConnectOptions& options) {
    const SetupLimits limits = limits_of(options);
    tcp::endpoint endpoint;
    std::memcpy(endpoint.data(), peer.data(),
                std::min<std::size_t>(peer.size(), endpoint.capacity()));
    endpoint.resize(peer.size());
    MIGRATE_ASSIGN(auto connections, connect_all({endpoint}, count, peer.text(), options));
    if (options.security.tls) {
        Status encrypted = encrypt_data(*options.security.tls, connections, limits);
        if (!encrypted) {
            return explain_tls(std::move(encrypted).error(), peer.text(), options.timeout);
        }
    }
    return connections;
}

}  // namespace migrate::transport
