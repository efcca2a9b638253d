// SPDX-License-Identifier: Apache-2.0
#include "cli/report_context.hpp"

#include <arpa/inet.h>
#include <unistd.h>

#include <array>

#include "base/config/setting_value.hpp"
#include "engine/path_config.hpp"

namespace migrate::cli {
namespace {

bool is_name(const std::string& host) {
    in6_addr address{};
    const std::string without_zone = host.substr(0, host.find('%'));
    return !host.empty() && ::inet_pton(AF_INET, host.c_str(), &address) != 1 &&
           ::inet_pton(AF_INET6, without_zone.c_str(), &address) != 1;
}

// The name by which the command reaches the other host; empty for an address, or if it is reached
// by the other side.
std::string peer_host_name(const Settings& settings) {
    if (settings.side() == Side::kRecv) return "";
    const auto paths = engine::make_paths(settings);
    if (!paths || paths->empty()) return "";
    const std::string& host = paths->front().route.remote.host;
    return is_name(host) ? host : "";
}

}  // namespace

const std::string& own_host_name() {
    static const std::string kName = [] {
        // The longest name that Linux has, and a zero.
        std::array<char, 65> name{};
        const bool known = ::gethostname(name.data(), name.size() - 1) == 0;
        return std::string(known ? name.data() : "");
    }();
    return kName;
}

void add_context(engine::Report& report, const Settings& settings) {
    report.host = own_host_name();
    report.peer_host = peer_host_name(settings);
    SettingValues all = setting_values(settings);
    set_values(all, report.settings);
    report.settings = std::move(all);
}

}  // namespace migrate::cli
