// SPDX-License-Identifier: Apache-2.0
#include "engine/path_config.hpp"

#include <algorithm>

#include "base/config/option_lookup.hpp"

namespace migrate::engine {
namespace {

// A local address is numeric. One of the other family cannot reach the remote one, if that is
// numeric, too.
Status check_ends(const transport::Route& route) {
    const std::string& own = route.local.address;
    const std::string& peer = route.remote.host;
    MIGRATE_TRY(transport::check_numeric(own));
    const auto is_v6 = [](const std::string& address) {
        return address.find(':') != std::string::npos;
    };
    if (!transport::check_numeric(peer) || is_v6(own) == is_v6(peer)) return {};
    return make_error(ErrorKind::kUsage, "{} and {} are not both IPv4 or both IPv6 addresses", own,
                      peer);
}

Result<PathConfig> read_path(const ParsedForm& form) {
    const Words<kPathWords> words(form);
    PathConfig path;
    MIGRATE_ASSIGN(path.route.remote, transport::parse_address(words.get<"remote">()));
    path.route.local = {words.get<"local">(), words.get<"dev">(), words.get<"mptcp">()};
    if (words.has<"local">() && words.has<"dev">()) {
        return make_error(ErrorKind::kUsage,
                          "option path: '{}': local and dev exclude each other: an address or an "
                          "interface determines the path",
                          form.rest);
    }
    if (words.has<"local">()) {
        Status ends = check_ends(path.route);
        if (!ends) return std::move(ends).error().with_context("option path: local");
    }
    if (words.has<"channels">()) path.channels = words.get<"channels", std::uint16_t>();
    path.max_bandwidth = words.get<"max-bandwidth">();
    return path;
}

// MPTCP is another kind of connection, but no other path.
bool same_way(const PathConfig& one, const PathConfig& other) {
    const transport::Route& a = one.route;
    const transport::Route& b = other.route;
    return a.remote.host == b.remote.host && a.remote.port == b.remote.port &&
           a.local.address == b.local.address && a.local.device == b.local.device;
}

Status check_different(std::span<const PathConfig> paths) {
    for (std::size_t i = 0; i < paths.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            if (!same_way(paths[i], paths[j])) continue;
            return make_error(ErrorKind::kUsage,
                              "the paths {} and {} are the same ({}): a path differs from the "
                              "others in remote, local or dev",
                              j + 1, i + 1, paths[i].route.text());
        }
    }
    return {};
}

// The numbers of channels that paths have, added up, and the number of paths that have none.
struct ChannelSum {
    std::uint64_t given = 0;
    std::uint64_t without = 0;
};

ChannelSum sum_of(std::span<const PathConfig> paths) {
    ChannelSum sum;
    for (const PathConfig& path : paths) {
        sum.given += path.channels.value_or(0);
        if (!path.channels) ++sum.without;
    }
    return sum;
}

Status check_channels(std::span<const PathConfig> paths, std::uint64_t channels) {
    const ChannelSum sum = sum_of(paths);
    if (channels == kAutoChannels) {
        if (sum.given == 0 && paths.size() <= kFirstAutoChannels) return {};
        return make_error(ErrorKind::kUsage,
                          "multifd-channels=auto begins with {} channels, which go to at most as "
                          "many paths in equal parts: give multifd-channels a number, at least {}",
                          kFirstAutoChannels, sum.given + sum.without);
    }
    if (sum.given + sum.without > channels) {
        return make_error(ErrorKind::kUsage,
                          "the paths need {} channels, and multifd-channels is {}: raise it, or "
                          "give fewer channels to the paths",
                          sum.given + sum.without, channels);
    }
    if (sum.without == 0 && sum.given != channels) {
        return make_error(ErrorKind::kUsage,
                          "the paths have {} channels together, and multifd-channels is {}: make "
                          "them equal, or leave channels out at a path",
                          sum.given, channels);
    }
    return {};
}

}  // namespace

Result<std::vector<PathConfig>> make_paths(const Settings& settings) {
    std::vector<PathConfig> paths;
    for (const std::string_view text : split_list(settings.get<"connect">())) {
        PathConfig path;
        MIGRATE_ASSIGN(path.route.remote, transport::parse_address(text));
        paths.push_back(std::move(path));
    }
    MIGRATE_ASSIGN(const auto forms, parse_forms_of<"path">(settings.get<"path">()));
    for (const ParsedForm& form : forms) {
        MIGRATE_ASSIGN(PathConfig path, read_path(form));
        paths.push_back(std::move(path));
    }
    if (paths.empty()) {
        return Error(ErrorKind::kUsage, "there is no address to connect to: give connect or path");
    }
    MIGRATE_TRY(check_different(paths));
    if (paths.size() > 1 || sum_of(paths).given != 0) {
        MIGRATE_TRY(check_channels(paths, settings.get<"multifd-channels">()));
    }
    return paths;
}

Result<std::vector<transport::Address>> make_listen_addresses(const Settings& settings) {
    std::vector<transport::Address> addresses;
    for (const std::string_view text : split_list(settings.get<"listen">())) {
        MIGRATE_ASSIGN(transport::Address address, transport::parse_listen_address(text));
        address.mptcp = settings.get<"listen-mptcp">();
        addresses.push_back(std::move(address));
    }
    if (addresses.empty()) {
        return Error(ErrorKind::kUsage, "there is no address to listen on: give listen");
    }
    if (settings.get<"listen-mptcp">()) {
        Status supported = transport::check_mptcp();
        if (!supported) return std::move(supported).error().with_context("option listen-mptcp");
    }
    return addresses;
}

std::vector<std::uint16_t> divide_channels(std::span<const PathConfig> paths, std::uint16_t all) {
    ChannelSum sum = sum_of(paths);
    std::uint64_t left = all - std::min<std::uint64_t>(all, sum.given);
    std::vector<std::uint16_t> numbers;
    for (const PathConfig& path : paths) {
        if (path.channels) {
            numbers.push_back(*path.channels);
            continue;
        }
        // The first ones get one more if the number cannot be divided.
        const auto part = static_cast<std::uint16_t>((left + sum.without - 1) / sum.without);
        numbers.push_back(part);
        left -= part;
        --sum.without;
    }
    return numbers;
}

std::vector<std::uint16_t> interleave(std::span<const std::uint16_t> channels) {
    std::vector<std::uint16_t> given(channels.size(), 0);
    std::vector<std::uint16_t> order;
    while (true) {
        std::size_t next = channels.size();
        for (std::size_t i = 0; i < channels.size(); ++i) {
            if (given[i] == channels[i]) continue;
            // Compares the shares (given + 1) / channels.
            if (next == channels.size() ||
                (given[i] + 1U) * channels[next] < (given[next] + 1U) * channels[i]) {
                next = i;
            }
        }
        if (next == channels.size()) return order;
        ++given[next];
        order.push_back(static_cast<std::uint16_t>(next));
    }
}

Status check_paths(std::span<const PathConfig> paths) {
    for (const PathConfig& path : paths) {
        Status present = transport::check_local(path.route.local);
        if (present) continue;
        return std::move(present).error().with_context(
            fmt::format("path {}", path.route.remote.text()));
    }
    return {};
}

std::vector<transport::Address> remotes_of(std::span<const PathConfig> paths) {
    std::vector<transport::Address> addresses;
    for (const PathConfig& path : paths) addresses.push_back(path.route.remote);
    return addresses;
}

std::string paths_text(std::span<const PathConfig> paths) {
    std::string text;
    for (const PathConfig& path : paths) {
        text += fmt::format("{}{}", text.empty() ? "" : " ", path.route.text());
    }
    return text;
}

}  // namespace migrate::engine
