// SPDX-License-Identifier: Apache-2.0
#include "engine/send/paths.hpp"

#include <algorithm>
#include <utility>

#include "base/log.hpp"
#include "transport/host_interfaces.hpp"

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;

// With several paths, the limit for the first data channels of one. A path that takes longer leaves
// them to another one, while the receiver waits for handshake-timeout.
constexpr milliseconds kFirstLimit{2000};
// With several paths, a data channel whose peer's host does not answer for this long is lost: what
// it carried is sent again by the others, and does not hold up the round until io-timeout.
constexpr milliseconds kPathSilence{5000};

}  // namespace

Paths::Paths(const SendConfig& config) : config_(config), ends_(config.paths.size()) {
    const auto channels = divide_channels(config.paths, config.negotiated.channels());
    for (std::size_t i = 0; i < config.paths.size(); ++i) {
        const PathConfig& one = config.paths[i];
        Path path{.config = one, .pacer = nullptr, .wanted = channels[i], .peer = {}};
        if (one.max_bandwidth != 0) {
            path.pacer = std::make_unique<transport::Pacer>(one.max_bandwidth);
        }
        paths_.push_back(std::move(path));
    }
}

std::uint16_t Paths::all_wanted() const {
    unsigned sum = 0;
    for (const Path& path : paths_) sum += path.wanted;
    return static_cast<std::uint16_t>(sum);
}

std::vector<std::uint16_t> Paths::in_order() const {
    std::vector<std::uint16_t> order{main_};
    for (std::uint16_t i = 0; i < count(); ++i) {
        if (i != main_) order.push_back(i);
    }
    return order;
}

transport::ConnectOptions Paths::options(milliseconds limit, const transport::StallLimits& limits,
                                         const std::stop_token& stop) const {
    return {.timeout = limit,
            .limits = limits,
            .stop = stop,
            .security = config_.security,
            .connected = {}};
}

// Notes where a connection by this path leads, and from where.
void Paths::note(std::uint16_t path, const transport::Socket& socket) {
    if (const auto peer = socket.peer()) paths_[path].peer = *peer;
    if (paths_[path].config.route.local.mptcp && !socket.tcp_figures().mptcp) {
        log::warning(
            "path {}: the receiver does not use MPTCP (listen-mptcp there), so the path "
            "uses plain TCP",
            name(path));
    }
    const auto own = socket.own();
    if (!own) return;
    Ends ends{own->address(), transport::interface_of(*own)};
    const MutexLock lock(mutex_);
    ends_[path] = std::move(ends);
}

Result<transport::Socket> Paths::connect_main(const std::stop_token& stop) {
    std::vector<transport::Route> routes;
    for (const Path& path : paths_) routes.push_back(path.config.route);
    MIGRATE_ASSIGN(transport::Answer answer,
                   transport::connect_to_first(
                       routes, options(config_.connect_timeout,
                                       transport::StallLimits::both(config_.io_timeout), stop)));
    main_ = static_cast<std::uint16_t>(answer.route);
    next_main_ = static_cast<std::uint16_t>((answer.route + 1) % count());
    note(main_, answer.socket);
    if (main_ != 0) {
        log::warning("path {} does not answer; the main channel goes by {}", name(0), name(main_));
    }
    return std::move(answer.socket);
}

Result<transport::Socket> Paths::connect_main_again(milliseconds limit,
                                                    const std::stop_token& stop) {
    const std::uint16_t path = next_main_;
    next_main_ = static_cast<std::uint16_t>((path + 1) % count());
    MIGRATE_ASSIGN(
        std::vector<transport::Socket> sockets,
        connect(path, 1, options(limit, transport::StallLimits::both(config_.io_timeout), stop)));
    if (path != main_) log::info("the main channel goes by {}", name(path));
    main_ = path;
    return std::move(sockets.front());
}

Result<std::vector<transport::Socket>> Paths::connect(std::uint16_t path, std::size_t count,
                                                      const transport::ConnectOptions& options) {
    const Path& way = paths_[path];
    auto sockets = way.peer
                       ? transport::connect_alike(*way.peer, count, options, way.config.route.local)
                       : transport::connect_alike(way.config.route, count, options);
    if (sockets) note(path, sockets->front());
    return sockets;
}

// Falls back to the main channel's path.
Result<std::vector<PathSocket>> Paths::connect_first_of(std::uint16_t path, std::uint16_t count,
                                                        const transport::ConnectOptions& options) {
    std::vector<PathSocket> made;
    std::uint16_t by = path;
    auto sockets = connect(path, count, options);
    const bool falls_back = !sockets && path != main_ && !options.stop.stop_requested() &&
                            sockets.error().kind() != ErrorKind::kUsage;
    if (falls_back) {
        by = main_;
        log::warning("path {}: {}; its {} data channels go by {} until one is lost", name(path),
                     sockets.error().message(), count, name(by));
        sockets = connect(by, count, options);
    }
    if (!sockets) return std::move(sockets).error();
    for (transport::Socket& socket : *sockets) made.push_back({std::move(socket), by});
    return made;
}

transport::StallLimits Paths::data_limits(const LinkTimes& times) const {
    transport::StallLimits limits = times.data;
    const bool others_repair = count() > 1 && config_.reconnect_timeout.count() != 0 &&
                               config_.detection != ZeroPageDetection::kLegacy;
    if (others_repair) limits.silent = std::min(limits.silent, kPathSilence);
    return limits;
}

Status Paths::size_buffers(std::span<PathSocket> sockets, std::uint16_t all) const {
    const auto buffer = config_.negotiated.get<"multifd-socket-buffer">();
    for (PathSocket& one : sockets) {
        MIGRATE_TRY(buffer == kAutoSocketBuffer
                        ? one.socket.share_path(all)
                        : one.socket.use_buffer(transport::BufferSide::kSends, buffer));
    }
    return {};
}

Result<std::vector<PathSocket>> Paths::connect_channels(const LinkTimes& times,
                                                        const std::stop_token& stop) {
    const milliseconds limit =
        count() == 1 ? config_.connect_timeout : std::min(config_.connect_timeout, kFirstLimit);
    std::vector<std::uint16_t> numbers;
    std::vector<std::vector<PathSocket>> by_path;
    for (std::uint16_t i = 0; i < count(); ++i) {
        numbers.push_back(paths_[i].wanted);
        MIGRATE_ASSIGN(auto made, connect_first_of(i, paths_[i].wanted,
                                                   options(limit, data_limits(times), stop)));
        by_path.push_back(std::move(made));
    }
    std::vector<PathSocket> sockets;
    for (const std::uint16_t path : interleave(numbers)) {
        sockets.push_back(std::move(by_path[path].back()));
        by_path[path].pop_back();
    }
    MIGRATE_TRY(size_buffers(sockets, static_cast<std::uint16_t>(sockets.size())));
    return sockets;
}

Result<std::vector<PathSocket>> Paths::connect_further(const Further& further,
                                                       const LinkTimes& times,
                                                       const std::stop_token& stop) {
    std::vector<PathSocket> sockets;
    std::span<const std::uint16_t> left = further.paths;
    const transport::ConnectOptions how = options(further.limit, data_limits(times), stop);
    while (!left.empty()) {
        const auto other = std::find_if(left.begin(), left.end(),
                                        [&](std::uint16_t path) { return path != left.front(); });
        const auto same = static_cast<std::size_t>(other - left.begin());
        transport::ConnectOptions part = how;
        if (sockets.empty()) part.connected = further.connected;
        MIGRATE_ASSIGN(auto made, connect(left.front(), same, part));
        for (transport::Socket& one : made) sockets.push_back({std::move(one), left.front()});
        left = left.subspan(same);
    }
    MIGRATE_TRY(size_buffers(sockets, further.all));
    return sockets;
}

std::vector<PathReport> Paths::report() const {
    std::vector<PathReport> reports;
    const MutexLock lock(mutex_);
    for (std::uint16_t i = 0; i < count(); ++i) {
        const PathConfig& config = paths_[i].config;
        reports.push_back({.remote = config.route.remote.text(),
                           .local = ends_[i].local,
                           .interface_name = ends_[i].interface_name,
                           .main = i == main_,
                           .max_bandwidth = config.max_bandwidth});
    }
    return reports;
}

}  // namespace migrate::engine
