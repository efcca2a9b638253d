// SPDX-License-Identifier: Apache-2.0
// A connection to a receiver that takes TLS only, both ends in one process: what a fuzz target
// needs to say anything to a receiver before TLS and behind it. It is a real TCP connection, so the
// receiver's side is the product's own; nothing waits, because both ends run in turn.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <asio.hpp>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>

#include "base/fd.hpp"
#include "tests/support/temporary_folder.hpp"
#include "transport/pending_connection.hpp"
#include "transport/socket.hpp"
#include "transport/tls/tls_endpoint.hpp"

namespace migrate::transport {

inline void require(bool condition) {
    if (!condition) std::abort();
}

// The value of what cannot fail here.
template <typename T>
T sure(Result<T> result) {
    require(static_cast<bool>(result));
    return *std::move(result);
}

constexpr std::chrono::milliseconds kFuzzLimit{20'000};

// One key that both sides have.
class FuzzKey {
  public:
    FuzzKey() {
        std::ofstream(path()) << "fuzz:" << std::string(64, '7') << '\n';
        require(::chmod(path().c_str(), 0600) == 0);
    }
    std::shared_ptr<TlsEndpoint> endpoint() const {
        return TlsEndpoint::create({.kind = TlsSpec::Kind::kPsk, .path = path()}, std::nullopt);
    }

  private:
    std::string path() const { return folder_ / "keys.psk"; }
    TemporaryFolder folder_;
};

// Small messages leave at once, and a close is a reset.
inline void set_options(int fd) {
    const int on = 1;
    require(::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    const linger now{1, 0};
    require(::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
}

// Makes connected pairs.
class TcpPairs {
  public:
    TcpPairs() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        address_.sin_family = AF_INET;
        address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address_;
        require(::bind(listener_.get(), generic(), size) == 0);
        require(::getsockname(listener_.get(), generic(), &size) == 0);
        require(::listen(listener_.get(), 4) == 0);
    }
    struct Pair {
        UniqueFd near;
        UniqueFd far;
    };
    Pair make() {
        Pair pair{UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), UniqueFd()};
        bind_to_fresh_address(pair.near.get());
        require(::connect(pair.near.get(), generic(), sizeof address_) == 0);
        pair.far = UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        require(static_cast<bool>(pair.far));
        set_options(pair.near.get());
        set_options(pair.far.get());
        return pair;
    }

  private:
    // Each connection comes from an address and port of its own, because the kernel keeps those of
    // one that has ended for a minute. The kernel's own choice of a port searches among all that it
    // keeps, and fails after some 400,000 connections. A port that another program has is left out.
    void bind_to_fresh_address(int fd) {
        constexpr std::uint32_t kFirstPort = 10'000;
        constexpr std::uint32_t kPorts = 50'000;
        const int on = 1;
        require(::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
        sockaddr_in from{};
        from.sin_family = AF_INET;
        for (int attempt = 0; attempt < 1000; ++attempt, ++made_) {
            from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 256 + made_ / kPorts % 65'536);
            from.sin_port = htons(static_cast<std::uint16_t>(kFirstPort + made_ % kPorts));
            if (::bind(fd, reinterpret_cast<sockaddr*>(&from), sizeof from) != 0) continue;
            ++made_;
            return;
        }
        require(false);
    }
    sockaddr* generic() { return reinterpret_cast<sockaddr*>(&address_); }
    UniqueFd listener_;
    sockaddr_in address_{};
    std::uint32_t made_ = 0;
};

// A connection that the receiver has accepted, and the peer's end of it.
class FuzzConnection {
  public:
    FuzzConnection(TcpPairs::Pair pair, TlsEndpoint& receiver)
        : near_(std::move(pair.near)),
          credentials_(loop_,
                       [&receiver](std::function<void()> ended) {
                           return receiver.read(TlsRole::kServer, std::move(ended));
                       }),
          pending_(std::make_shared<PendingConnection>(
              loop_, sure(Socket::adopt(std::move(pair.far), StallLimits::both(kFuzzLimit))),
              &receiver, &credentials_,
              [this](const std::shared_ptr<PendingConnection>&, const Status& status) {
                  status_ = status;
                  loop_.stop();
              })) {
        pending_->start(kFuzzLimit);
    }
    FuzzConnection(const FuzzConnection&) = delete;
    FuzzConnection& operator=(const FuzzConnection&) = delete;
    ~FuzzConnection() {
        if (pending_) pending_->close();
    }

    // The peer's end.
    int fd() const { return near_.get(); }
    // Lets the receiver do one step.
    void step() {
        if (!status_) loop_.run_one();
    }
    bool is_finished() const { return status_.has_value(); }
    // Lets the receiver read until it has made up its mind: the connection, if it takes it.
    std::optional<NewConnection> outcome() {
        while (!status_) loop_.run();
        if (!*status_) return std::nullopt;
        Result<NewConnection> connection = pending_->release();
        pending_.reset();
        if (!connection) return std::nullopt;
        return *std::move(connection);
    }

  private:
    UniqueFd near_;
    asio::io_context loop_;
    CredentialReader credentials_;
    std::optional<Status> status_;
    std::shared_ptr<PendingConnection> pending_;
};

}  // namespace migrate::transport
