// SPDX-License-Identifier: Apache-2.0
#include "e2e/tcp_proxy.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <vector>

#include "catch.hpp"
#include "e2e/forwarding.hpp"
#include "tests/support/loopback.hpp"
#include "transport/wire.hpp"

namespace migrate::e2e {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using transport::FrameType;

constexpr std::size_t kBufferBytes = std::size_t{256} * 1024;

// Finds a frame in one direction of the main channel.
class FrameSpotter {
  public:
    FrameSpotter(const CutMoment& moment, std::size_t hello_bytes)
        : wanted_(moment.before_frame ? moment.before_frame : moment.after_frame),
          after_(moment.after_frame.has_value()),
          skip_(hello_bytes) {}

    // Behind how many of these bytes the moment has come.
    std::optional<std::size_t> find(std::span<const std::byte> bytes) {
        std::size_t at = 0;
        while (wanted_ && at < bytes.size()) {
            if (skip_ > 0) {
                const std::size_t step = std::min(skip_, bytes.size() - at);
                skip_ -= step;
                at += step;
            } else {
                header_[filled_++] = bytes[at++];
                if (filled_ == header_.size() && take_header() && !after_) {
                    wanted_.reset();
                    return at - std::min(at, header_.size());
                }
            }
            if (found_ && skip_ == 0) {
                wanted_.reset();
                return at;
            }
        }
        return std::nullopt;
    }

  private:
    // True if it belongs to the wanted frame.
    bool take_header() {
        filled_ = 0;
        const auto header = transport::decode_frame_header(header_);
        if (!header) return false;
        skip_ = header->body_bytes;
        found_ = header->type == *wanted_;
        return found_;
    }

    std::optional<FrameType> wanted_;
    bool after_;
    std::size_t skip_;  // of the hello, or of a body
    std::array<std::byte, transport::kFrameHeaderSize> header_{};
    std::size_t filled_ = 0;
    bool found_ = false;
};

// One way of a connection.
struct Way {
    int from;
    int to;
    FrameSpotter spotter;
    std::vector<std::byte> held{};        // read, and not yet written
    std::optional<std::size_t> moment{};  // behind so many of them
    bool ended = false;                   // nothing more comes
    bool passed_on = false;               // and the other side was told
};

struct Connection {
    UniqueFd client;
    UniqueFd server;
    std::array<Way, 2> ways;
    bool swallows = false;  // it was cut by FIN, or is held
    std::uint64_t forwarded = 0;
    bool open() const { return bool(client); }
};

class Forwarder {
  public:
    Forwarder(int listener, int stop, std::uint16_t port, std::size_t most,
              const std::vector<Cut>& cuts, std::atomic<unsigned>& done)
        : listener_(listener), stop_(stop), port_(port), most_(most), done_(done) {
        for (const Cut& cut : cuts) cuts_.push_back({cut});
    }

    void run() {
        while (wait()) {
            if (polled_[1].revents != 0) accept();
            for (const auto& connection : connections_) {
                for (Way& way : connection->ways) {
                    if (connection->open()) forward(*connection, way);
                }
                if (connection->ways[0].passed_on && connection->ways[1].passed_on)
                    close(*connection);
            }
            for (PendingCut& pending : cuts_) {
                const CutMoment& when = pending.cut.when;
                if (when.time && started_ && Clock::now() >= *started_ + *when.time) {
                    pending.due = true;
                }
                if (when.bytes && forwarded_ >= *when.bytes) pending.due = true;
            }
            cut_if_due();
        }
    }

  private:
    struct PendingCut {
        Cut cut;
        bool due = false;
        bool done = false;
    };

    // The cut that waits for a frame; null if there is none.
    PendingCut* by_frame() {
        for (PendingCut& pending : cuts_) {
            const CutMoment& when = pending.cut.when;
            if (when.before_frame || when.after_frame) return &pending;
        }
        return nullptr;
    }

    bool wait() {
        polled_.assign({{stop_, POLLIN, 0}, {listener_, POLLIN, 0}});
        for (const auto& connection : connections_) {
            for (const Way& way : connection->ways) {
                if (!connection->open()) continue;
                if (!way.held.empty()) {
                    polled_.push_back({way.to, POLLOUT, 0});
                } else if (!way.ended) {
                    polled_.push_back({way.from, POLLIN, 0});
                }
            }
        }
        milliseconds left(60'000);
        for (const PendingCut& pending : cuts_) {
            if (!pending.cut.when.time || !started_ || pending.due) continue;
            const auto moment = *started_ + *pending.cut.when.time;
            left = std::clamp(std::chrono::ceil<milliseconds>(moment - Clock::now()),
                              milliseconds(0), left);
        }
        ::poll(polled_.data(), polled_.size(), static_cast<int>(left.count()));
        return polled_[0].revents == 0;
    }

    void accept() {
        auto [client, server] = accept_and_connect(listener_, port_);
        if (!server || connections_.size() >= most_) return;
        if (!started_) started_ = Clock::now();
        const bool is_main = connections_.empty();
        const PendingCut* const framed = by_frame();
        const CutMoment spotted = is_main && framed != nullptr ? framed->cut.when : CutMoment{};
        const int near = client.get();
        const int far = server.get();
        connections_.push_back(std::make_unique<Connection>(
            Connection{std::move(client),
                       std::move(server),
                       {Way{near, far, FrameSpotter(spotted, transport::kHelloSize)},
                        Way{far, near, FrameSpotter(spotted, 0)}}}));
    }

    void forward(Connection& connection, Way& way) {
        if (way.held.empty() && !way.ended) read(connection, way);
        if (!connection.open() || connection.swallows) return;
        while (!way.held.empty()) {
            const std::size_t limit =
                std::min(way.moment.value_or(way.held.size()), until_cut(connection));
            const ssize_t count = ::send(way.to, way.held.data(), limit, MSG_NOSIGNAL);
            if (count < 0 && errno == EAGAIN) return;
            if (count < 0) return reset(connection);
            forwarded_ += static_cast<std::uint64_t>(count);
            connection.forwarded += static_cast<std::uint64_t>(count);
            way.held.erase(way.held.begin(), way.held.begin() + count);
            cut_if_due();
            if (!connection.open() || connection.swallows) return;
            if (way.moment && (*way.moment -= static_cast<std::size_t>(count)) == 0) {
                way.moment.reset();
                by_frame()->due = true;
                cut_if_due();
                if (!connection.open() || connection.swallows) return;
            }
        }
        if (way.ended && !way.passed_on) {
            ::shutdown(way.to, SHUT_WR);
            way.passed_on = true;
        }
    }

    void read(Connection& connection, Way& way) {
        way.held.resize(kBufferBytes);
        const ssize_t count = ::recv(way.from, way.held.data(), way.held.size(), MSG_DONTWAIT);
        way.held.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
        if (count < 0 && errno == EAGAIN) return;
        if (count < 0) return reset(connection);
        if (connection.swallows) way.held.clear();
        way.ended = count == 0;
        if (way.ended && connection.swallows) {
            // The other end of a held connection sees this first.
            ::shutdown(way.to, SHUT_WR);
            way.passed_on = true;
        }
        way.moment = way.spotter.find(way.held);
        if (way.moment == 0U) {
            way.moment.reset();
            by_frame()->due = true;
            cut_if_due();
        }
    }

    void cut_if_due() {
        for (PendingCut& pending : cuts_) {
            if (pending.done || connections_.size() <= pending.cut.connection) continue;
            Connection& connection = *connections_[pending.cut.connection];
            if (!connection.open()) continue;
            const auto& own = pending.cut.when.own_bytes;
            if (!pending.due && !(own && connection.forwarded >= *own)) continue;
            pending.done = true;
            ++done_;
            cut_now(connection, pending.cut.by);
        }
    }

    // Number of bytes that this connection may still forward before it is cut; at least 1.
    std::size_t until_cut(const Connection& connection) const {
        std::uint64_t least = kBufferBytes;
        for (const PendingCut& pending : cuts_) {
            const auto& own = pending.cut.when.own_bytes;
            if (pending.done || !own || connections_.size() <= pending.cut.connection) continue;
            if (connections_[pending.cut.connection].get() != &connection) continue;
            least = std::min(least, *own - std::min(*own, connection.forwarded));
        }
        return std::max<std::uint64_t>(least, 1);
    }

    static void cut_now(Connection& connection, CutBy by) {
        if (by == CutBy::kReset) return reset(connection);
        connection.swallows = true;
        for (Way& way : connection.ways) {
            way.held.clear();
            if (by == CutBy::kFin) ::shutdown(way.to, SHUT_WR);
        }
    }

    static void reset(Connection& connection) {
        const linger hard{1, 0};
        for (const int fd : {connection.client.get(), connection.server.get()}) {
            ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        }
        close(connection);
    }

    static void close(Connection& connection) {
        connection.client.reset();
        connection.server.reset();
    }

    int listener_;
    int stop_;
    std::uint16_t port_;
    std::size_t most_;  // connections
    std::vector<PendingCut> cuts_;
    std::atomic<unsigned>& done_;
    std::vector<pollfd> polled_;
    std::vector<std::unique_ptr<Connection>> connections_;
    std::optional<Clock::time_point> started_;
    std::uint64_t forwarded_ = 0;
};

}  // namespace

std::string describe(const Cut& cut) {
    const CutMoment& when = cut.when;
    return fmt::format("connection {} {} {}", cut.connection,
                       cut.by == CutBy::kFin     ? "closed"
                       : cut.by == CutBy::kReset ? "reset"
                                                 : "held",
                       when.time        ? fmt::format("after {} ms", when.time->count())
                       : when.bytes     ? fmt::format("after {} bytes", *when.bytes)
                       : when.own_bytes ? fmt::format("after {} bytes of its own", *when.own_bytes)
                       : when.before_frame
                           ? fmt::format("before {}", transport::name_of(*when.before_frame))
                           : fmt::format("after {}", transport::name_of(*when.after_frame)));
}

TcpProxy::TcpProxy(std::uint16_t port, std::vector<Cut> cuts, std::size_t most)
    : listener_(loopback_socket(0, true, SOCK_NONBLOCK)),
      port_(port_of(listener_.get())),
      stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    REQUIRE(stop_);
    thread_ = std::thread([this, port, most, cuts = std::move(cuts)] {
        Forwarder(listener_.get(), stop_.get(), port, most, cuts, cuts_).run();
    });
}

TcpProxy::~TcpProxy() {
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
}

}  // namespace migrate::e2e
