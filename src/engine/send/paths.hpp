// SPDX-License-Identifier: Apache-2.0
// The network paths of a sender's session: makes the connections of each, and knows which of them
// the main channel goes by. Invariant: a channel belongs to the path that its connection was made
// by; no path is left out for good.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/mutex.hpp"
#include "engine/link_times.hpp"
#include "engine/path_config.hpp"
#include "engine/report/path_report.hpp"
#include "engine/session_config.hpp"
#include "transport/connector.hpp"
#include "transport/pacer.hpp"

namespace migrate::engine {

// A connection that was made by a path.
struct PathSocket {
    transport::Socket socket;
    std::uint16_t path = 0;  // index
};

class Paths {
  public:
    // `config` outlives this object.
    explicit Paths(const SendConfig& config);

    std::uint16_t count() const { return static_cast<std::uint16_t>(paths_.size()); }
    // Its remote address, for messages.
    std::string name(std::uint16_t path) const { return paths_[path].config.route.text(); }
    // Enforces the path's max-bandwidth; null if it has none.
    transport::Pacer* pacer(std::uint16_t path) const { return paths_[path].pacer.get(); }
    // Number of data channels that the path is to have.
    std::uint16_t wanted(std::uint16_t path) const { return paths_[path].wanted; }
    // A channel was added to the path.
    void want_another(std::uint16_t path) { ++paths_[path].wanted; }
    // Sum over all paths.
    std::uint16_t all_wanted() const;
    // All paths, that of the main channel first.
    std::vector<std::uint16_t> in_order() const;

    // These are called by the session's thread. The main channel by the first path that answers;
    // kinds of Error: see transport::connect_to_first().
    Result<transport::Socket> connect_main(const std::stop_token& stop);
    // A main channel in place of one that was lost: one attempt, within `limit`. Each attempt takes
    // the path after that of the last one, since the path that lost the channel may be down.
    Result<transport::Socket> connect_main_again(std::chrono::milliseconds limit,
                                                 const std::stop_token& stop);
    // The session's first data channels, in the order of their ids. A path that does not answer
    // leaves its channels to the path of the main channel.
    Result<std::vector<PathSocket>> connect_channels(const LinkTimes& times,
                                                     const std::stop_token& stop);
    // A connection for each entry of `paths`, which are indices. All or none.
    struct Further {
        std::span<const std::uint16_t> paths;
        std::chrono::milliseconds limit{};  // for each path
        std::uint16_t all = 0;              // channels that share the network
        // Called once the first connections are made, and before any is encrypted.
        std::function<Status()> connected{};
    };
    Result<std::vector<PathSocket>> connect_further(const Further& further, const LinkTimes& times,
                                                    const std::stop_token& stop);

    // A report of each path, without the figures of its channels. Any thread.
    std::vector<PathReport> report() const;

  private:
    struct Path {
        PathConfig config;
        std::unique_ptr<transport::Pacer> pacer;
        std::uint16_t wanted = 0;
        // Where the first connection led. The name is not looked up again.
        std::optional<transport::Endpoint> peer;
    };
    // The ends of a path's last connection, for the report.
    struct Ends {
        std::string local;
        std::string interface_name;
    };
    transport::ConnectOptions options(std::chrono::milliseconds limit,
                                      const transport::StallLimits& limits,
                                      const std::stop_token& stop) const;
    Result<std::vector<transport::Socket>> connect(std::uint16_t path, std::size_t count,
                                                   const transport::ConnectOptions& options);
    Result<std::vector<PathSocket>> connect_first_of(std::uint16_t path, std::uint16_t count,
                                                     const transport::ConnectOptions& options);
    Status size_buffers(std::span<PathSocket> sockets, std::uint16_t all) const;
    transport::StallLimits data_limits(const LinkTimes& times) const;
    void note(std::uint16_t path, const transport::Socket& socket);

    const SendConfig& config_;
    std::vector<Path> paths_;
    std::atomic<std::uint16_t> main_{0};
    std::uint16_t next_main_ = 0;  // path of the next attempt
    mutable Mutex mutex_;
    std::vector<Ends> ends_ GUARDED_BY(mutex_);
};

}  // namespace migrate::engine
