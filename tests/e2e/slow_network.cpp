// SPDX-License-Identifier: Apache-2.0
#include "e2e/slow_network.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "catch.hpp"
#include "e2e/forwarding.hpp"
#include "tests/support/loopback.hpp"

namespace migrate::e2e {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// So much is on its way at most; what comes then waits in the sender's socket.
constexpr std::size_t kMostOnTheWay = std::size_t{64} * 1024 * 1024;
constexpr std::size_t kReadBytes = std::size_t{256} * 1024;

struct Piece {
    Clock::time_point due;
    std::vector<std::byte> bytes;  // empty: the end
    std::size_t sent = 0;
};

// One way of a connection.
struct SlowWay {
    int from;
    int to;
    std::deque<Piece> pieces{};
    std::size_t on_the_way = 0;
    bool ended = false;
    bool broken = false;

    bool reads() const { return !ended && !broken && on_the_way < kMostOnTheWay; }
    bool is_due(Clock::time_point now) const {
        return !broken && !pieces.empty() && pieces.front().due <= now;
    }

    void read(milliseconds delay) {
        std::vector<std::byte> bytes(kReadBytes);
        const ssize_t count = ::recv(from, bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN) return;
        ended = count <= 0;
        bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
        on_the_way += bytes.size();
        pieces.push_back({Clock::now() + delay, std::move(bytes)});
    }

    void write() {
        Piece& piece = pieces.front();
        if (piece.bytes.empty()) {
            ::shutdown(to, SHUT_WR);
            pieces.pop_front();
            return;
        }
        const ssize_t count = ::send(to, piece.bytes.data() + piece.sent,
                                     piece.bytes.size() - piece.sent, MSG_NOSIGNAL);
        if (count < 0) {
            broken = errno != EAGAIN;
            return;
        }
        piece.sent += static_cast<std::size_t>(count);
        on_the_way -= static_cast<std::size_t>(count);
        if (piece.sent == piece.bytes.size()) pieces.pop_front();
    }
};

struct SlowConnection {
    UniqueFd client;
    UniqueFd server;
    std::array<SlowWay, 2> ways;
};

class SlowForwarder {
  public:
    SlowForwarder(int listener, int stop, std::uint16_t port, milliseconds delay)
        : listener_(listener), stop_(stop), port_(port), delay_(delay) {}

    void run() {
        while (wait()) {
            if (polled_[1].revents != 0) accept();
            for (const auto& connection : connections_) {
                for (SlowWay& way : connection->ways) {
                    if (way.reads()) way.read(delay_);
                    if (way.is_due(Clock::now())) way.write();
                }
            }
            std::erase_if(connections_, [](const auto& connection) {
                return std::all_of(connection->ways.begin(), connection->ways.end(),
                                   [](const SlowWay& way) {
                                       return way.broken || (way.ended && way.pieces.empty());
                                   });
            });
        }
    }

  private:
    bool wait() {
        polled_.assign({{stop_, POLLIN, 0}, {listener_, POLLIN, 0}});
        std::optional<Clock::time_point> next;
        const Clock::time_point now = Clock::now();
        for (const auto& connection : connections_) {
            for (const SlowWay& way : connection->ways) {
                if (way.reads()) polled_.push_back({way.from, POLLIN, 0});
                if (way.is_due(now)) {
                    polled_.push_back({way.to, POLLOUT, 0});
                } else if (!way.broken && !way.pieces.empty()) {
                    next = std::min(next.value_or(way.pieces.front().due), way.pieces.front().due);
                }
            }
        }
        const auto left =
            next ? std::chrono::ceil<milliseconds>(*next - now) : milliseconds(60'000);
        ::poll(polled_.data(), polled_.size(), static_cast<int>(left.count()));
        return polled_[0].revents == 0;
    }

    void accept() {
        auto [client, server] = accept_and_connect(listener_, port_);
        if (!server) return;
        const int near = client.get();
        const int far = server.get();
        connections_.push_back(std::make_unique<SlowConnection>(SlowConnection{
            std::move(client), std::move(server), {SlowWay{near, far}, SlowWay{far, near}}}));
    }

    int listener_;
    int stop_;
    std::uint16_t port_;
    milliseconds delay_;
    std::vector<pollfd> polled_;
    std::vector<std::unique_ptr<SlowConnection>> connections_;
};

}  // namespace

SlowNetwork::SlowNetwork(std::uint16_t port, milliseconds round_trip)
    : listener_(loopback_socket(0, true, SOCK_NONBLOCK)),
      port_(port_of(listener_.get())),
      stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    REQUIRE(stop_);
    thread_ = std::thread([this, port, round_trip] {
        SlowForwarder(listener_.get(), stop_.get(), port, round_trip / 2).run();
    });
}

SlowNetwork::~SlowNetwork() {
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
}

}  // namespace migrate::e2e
