// SPDX-License-Identifier: Apache-2.0
#include "e2e/damaging_relay.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "catch.hpp"
#include "e2e/forwarding.hpp"
#include "tests/support/loopback.hpp"

namespace migrate::e2e {
namespace {

constexpr std::array<const char*, 5> kDamageNames{"flip", "drop", "repeat", "swap", "cut"};

// One way of a connection; a thread forwards it until either end is gone.
class DamagedWay {
  public:
    // `damage` is null if this way stays intact.
    DamagedWay(int from, int to, const Damage* damage, std::atomic<bool>& has_damaged)
        : from_(from), to_(to), damage_(damage), has_damaged_(has_damaged) {
        thread_ = std::thread([this] { run(); });
    }
    ~DamagedWay() { thread_.join(); }
    DamagedWay(const DamagedWay&) = delete;
    DamagedWay& operator=(const DamagedWay&) = delete;

  private:
    void run() {
        std::vector<char> bytes(std::size_t{64} * 1024);
        while (true) {
            const ssize_t count = ::recv(from_, bytes.data(), bytes.size(), 0);
            if (count <= 0) break;
            std::vector<char> passed(bytes.begin(), bytes.begin() + count);
            const auto end = position_ + static_cast<std::uint64_t>(count);
            if (damage_ != nullptr && damage_->at < end && !done_ && !damage(passed)) break;
            position_ = end;
            if (!send_all(passed)) break;
        }
        ::shutdown(to_, SHUT_WR);
    }

    // Returns false if the connection is cut.
    bool damage(std::vector<char>& bytes) {
        done_ = true;
        const auto at = static_cast<std::ptrdiff_t>(damage_->at - position_);
        const auto left = static_cast<std::ptrdiff_t>(bytes.size()) - at;
        const auto size = std::min<std::ptrdiff_t>(damage_->size, left);
        const std::vector<char> before = bytes;
        const auto piece = bytes.begin() + at;
        switch (damage_->by) {
            case DamageBy::kFlip:
                *piece = static_cast<char>(*piece ^ 1 << damage_->size % 8);
                break;
            case DamageBy::kDrop:
                bytes.erase(piece, piece + size);
                break;
            case DamageBy::kRepeat: {
                const std::vector<char> again(piece, piece + size);
                bytes.insert(piece, again.begin(), again.end());
                break;
            }
            case DamageBy::kSwap:
                std::rotate(piece, piece + size / 2, piece + size / 2 * 2);
                break;
            case DamageBy::kCut:
                bytes.erase(piece, bytes.end());
                send_all(bytes);
                has_damaged_ = true;
                ::shutdown(from_, SHUT_RDWR);
                ::shutdown(to_, SHUT_RDWR);
                return false;
        }
        if (bytes != before) has_damaged_ = true;
        return true;
    }

    bool send_all(const std::vector<char>& bytes) const {
        for (std::size_t sent = 0; sent < bytes.size();) {
            const ssize_t count =
                ::send(to_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
            if (count <= 0) return false;
            sent += static_cast<std::size_t>(count);
        }
        return true;
    }

    int from_;
    int to_;
    const Damage* damage_;
    std::atomic<bool>& has_damaged_;
    std::uint64_t position_ = 0;
    bool done_ = false;
    std::thread thread_;
};

struct DamagedConnection {
    ForwardedConnection ends;
    std::unique_ptr<DamagedWay> there{};
    std::unique_ptr<DamagedWay> back{};

    explicit DamagedConnection(ForwardedConnection made) : ends(std::move(made)) {}
    ~DamagedConnection() {
        ::shutdown(ends.client.get(), SHUT_RDWR);
        ::shutdown(ends.server.get(), SHUT_RDWR);
    }
};

void forward_all(int listener, int stop, std::uint16_t port, const Damage& damage,
                 std::atomic<bool>& has_damaged) {
    std::vector<std::unique_ptr<DamagedConnection>> connections;
    std::array<pollfd, 2> polled{{{stop, POLLIN, 0}, {listener, POLLIN, 0}}};
    while (::poll(polled.data(), polled.size(), -1) > 0 && polled[0].revents == 0) {
        auto connection = std::make_unique<DamagedConnection>(accept_and_connect(listener, port));
        const int client = connection->ends.client.get();
        const int server = connection->ends.server.get();
        if (server < 0) continue;
        for (const int fd : {client, server}) ::fcntl(fd, F_SETFL, 0);
        const bool chosen = connections.size() == damage.connection;
        connection->there = std::make_unique<DamagedWay>(
            client, server, chosen && damage.to_receiver ? &damage : nullptr, has_damaged);
        connection->back = std::make_unique<DamagedWay>(
            server, client, chosen && !damage.to_receiver ? &damage : nullptr, has_damaged);
        connections.push_back(std::move(connection));
    }
    // The ends are shut down before their threads are joined.
    for (const auto& connection : connections) {
        ::shutdown(connection->ends.client.get(), SHUT_RDWR);
        ::shutdown(connection->ends.server.get(), SHUT_RDWR);
    }
}

}  // namespace

std::string describe(const Damage& damage) {
    return fmt::format("{} of {} at byte {} of connection {} to the {}",
                       kDamageNames.at(static_cast<std::size_t>(damage.by)), damage.size, damage.at,
                       damage.connection, damage.to_receiver ? "receiver" : "sender");
}

DamagingRelay::DamagingRelay(std::uint16_t port, const Damage& damage)
    : listener_(loopback_socket(0, true, SOCK_NONBLOCK)),
      port_(port_of(listener_.get())),
      stop_(::eventfd(0, EFD_CLOEXEC)) {
    REQUIRE(stop_);
    thread_ = std::thread([this, port, damage] {
        forward_all(listener_.get(), stop_.get(), port, damage, has_damaged_);
    });
}

DamagingRelay::~DamagingRelay() {
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
}

}  // namespace migrate::e2e
