#include "transport/connector.hpp"

#include <sys/socket.h>

#include <asio.hpp>
#include <cerrno>

#include "base/catching.hpp"
#include "transport/release_blocking.hpp"
#include "transport/resolver.hpp"
#include "transport/socket.hpp"

namespace migrate::transport {
namespace {

using asio::ip::tcp;

// Several connection attempts under one deadline.
class Attempts {
  public:
    Attempts(std::size_t count, std::chrono::milliseconds timeout, const std::stop_token& stop)
        : timer_(context_, timeout), pending_(count), stop_(stop) {
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
        const std::stop_callback on_stop(stop_, [this] { context_.stop(); });
        context_.run();
        if (stop_.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        if (timed_out_) return Error(ErrorKind::kTimeout, "no answer");
        if (first_error_) return Error(first_error_.message());
        return {};
    }

    Result<std::vector<UniqueFd>> release() {
        std::vector<UniqueFd> connections;
        for (tcp::socket& socket : sockets_) {
            MIGRATE_ASSIGN(UniqueFd fd, release_blocking(socket));
            connections.push_back(std::move(fd));
        }
        return connections;
    }

  private:
    asio::io_context context_;
    asio::steady_timer timer_;
    std::vector<tcp::socket> sockets_;
    std::size_t pending_;
    const std::stop_token& stop_;
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

Result<std::vector<UniqueFd>> connect_all(const std::vector<tcp::endpoint>& endpoints,
                                          std::size_t count, std::string_view where,
                                          std::chrono::milliseconds timeout,
                                          const std::stop_token& stop) {
    const std::string to = fmt::format("cannot connect to {}", where);
    try {
        Attempts attempts(count, timeout, stop);
        Status status = attempts.run(endpoints);
        if (!status) return explain(std::move(status).error(), where, timeout);
        return attempts.release();
    } catch (...) {
        return error_of_exception(to);
    }
}

}  // namespace

Result<UniqueFd> connect_to(const Address& address, std::chrono::milliseconds timeout,
                            const std::stop_token& stop) {
    MIGRATE_ASSIGN(const auto endpoints,
                   resolve(address, ResolveFor::kConnecting, "connect-timeout", {timeout, stop}));
    MIGRATE_ASSIGN(auto connections, connect_all(endpoints, 1, address.text(), timeout, stop));
    return std::move(connections.front());
}

Result<std::vector<UniqueFd>> connect_alike(int connected, std::size_t count,
                                            std::chrono::milliseconds timeout,
                                            const std::stop_token& stop) {
    tcp::endpoint endpoint;
    auto size = static_cast<socklen_t>(endpoint.capacity());
    if (::getpeername(connected, endpoint.data(), &size) != 0) {
        return Error::system("find where the main channel leads", errno)
            .as(ErrorKind::kLostConnection);
    }
    endpoint.resize(size);
    return connect_all({endpoint}, count, endpoint_name(connected, true), timeout, stop);
}

}  // namespace migrate::transport
