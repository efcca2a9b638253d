#include "transport/connector.hpp"

#include <netdb.h>
#include <sys/socket.h>

#include <asio.hpp>
#include <cerrno>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

#include "base/thread.hpp"
#include "transport/release_blocking.hpp"
#include "transport/socket.hpp"

namespace migrate::transport {
namespace {

using asio::ip::tcp;

struct Resolution {
    std::mutex mutex;
    std::condition_variable_any done;
    bool ready = false;                    // guarded by mutex
    int error = 0;                         // guarded by mutex
    std::vector<tcp::endpoint> endpoints;  // guarded by mutex
};

void finish(Resolution& resolution, int error, std::vector<tcp::endpoint> endpoints) {
    {
        const std::scoped_lock lock(resolution.mutex);
        resolution.ready = true;
        resolution.error = error;
        resolution.endpoints = std::move(endpoints);
    }
    resolution.done.notify_all();
}

void resolve_blocking(const Address& address, Resolution& into) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    const int error =
        ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &list);
    std::vector<tcp::endpoint> endpoints;
    for (const addrinfo* entry = list; error == 0 && entry != nullptr; entry = entry->ai_next) {
        tcp::endpoint endpoint;
        if (entry->ai_addrlen > endpoint.capacity()) continue;
        std::memcpy(endpoint.data(), entry->ai_addr, entry->ai_addrlen);
        endpoint.resize(entry->ai_addrlen);
        endpoints.push_back(endpoint);
    }
    if (list != nullptr) ::freeaddrinfo(list);
    finish(into, error, std::move(endpoints));
}

Result<Thread> start_resolver(const Address& address,
                              const std::shared_ptr<Resolution>& resolution) {
    return Thread::start(
        "resolver",
        [address, resolution](const std::stop_token&) -> Status {
            resolve_blocking(address, *resolution);
            return {};
        },
        [resolution](const Error&) { finish(*resolution, EAI_MEMORY, {}); });
}

// getaddrinfo() can neither be cancelled nor given a deadline, so it runs on a thread that is left
// behind if it takes too long; what it writes to lives as long as it does.
Result<std::vector<tcp::endpoint>> resolve(const Address& address,
                                           std::chrono::milliseconds timeout,
                                           const std::stop_token& stop) {
    asio::error_code error;
    const auto numeric = asio::ip::make_address(address.host, error);
    if (!error) return std::vector{tcp::endpoint(numeric, address.port)};

    auto resolution = std::make_shared<Resolution>();
    MIGRATE_ASSIGN(Thread resolver, start_resolver(address, resolution));
    resolver.detach();
    std::unique_lock lock(resolution->mutex);
    if (!resolution->done.wait_for(lock, stop, timeout, [&] { return resolution->ready; })) {
        if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        return make_error(ErrorKind::kTimeout,
                          "host name '{}' was not resolved within {} ms (connect-timeout)",
                          address.host, timeout.count());
    }
    if (resolution->error != 0) {
        return make_error("cannot resolve host name '{}': {}", address.host,
                          ::gai_strerror(resolution->error));
    }
    return std::move(resolution->endpoints);
}

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
        "cannot connect to {}: {} (is `migrate recv` listening there, and the port open?)", where,
        error.message());
}

Result<std::vector<UniqueFd>> connect_all(const std::vector<tcp::endpoint>& endpoints,
                                          std::size_t count, std::string_view where,
                                          std::chrono::milliseconds timeout,
                                          const std::stop_token& stop) {
    try {
        Attempts attempts(count, timeout, stop);
        Status status = attempts.run(endpoints);
        if (!status) return explain(std::move(status).error(), where, timeout);
        return attempts.release();
    } catch (const std::exception& exception) {
        return make_error("cannot connect to {}: {}", where, exception.what());
    }
}

}  // namespace

Result<UniqueFd> connect_to(const Address& address, std::chrono::milliseconds timeout,
                            const std::stop_token& stop) {
    MIGRATE_ASSIGN(const auto endpoints, resolve(address, timeout, stop));
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
