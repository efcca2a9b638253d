// SPDX-License-Identifier: Apache-2.0
// The network paths of a sender, from its options. Invariant: there is at least one path, no two
// are equal, and each has a data channel.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/config/settings.hpp"
#include "base/error.hpp"
#include "transport/route.hpp"

namespace migrate::engine {

struct PathConfig {
    transport::Route route;
    // Data channels; nothing: an equal part of those that the paths with a number leave.
    std::optional<std::uint16_t> channels{};
    std::uint64_t max_bandwidth = 0;  // bytes per second; 0: no limit
};

// The paths of connect and path, in this order, and the addresses of listen. kUsage if they
// contradict each other or multifd-channels.
Result<std::vector<PathConfig>> make_paths(const Settings& settings);
Result<std::vector<transport::Address>> make_listen_addresses(const Settings& settings);

// Number of data channels of each path, out of `all`, which is at least the number of paths and the
// sum of their own numbers.
std::vector<std::uint16_t> divide_channels(std::span<const PathConfig> paths, std::uint16_t all);
// The path of each channel in the order of the ids, for these numbers of channels: each part of the
// list has about the same share of every path.
std::vector<std::uint16_t> interleave(std::span<const std::uint16_t> channels);

// Checks that this host has the addresses and interfaces of the paths. kUsage names the path.
Status check_paths(std::span<const PathConfig> paths);

// The addresses to which the paths lead.
std::vector<transport::Address> remotes_of(std::span<const PathConfig> paths);

// "a:1", "a:1 b:2 from 10.0.0.1": for messages.
std::string paths_text(std::span<const PathConfig> paths);

}  // namespace migrate::engine
