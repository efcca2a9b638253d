// SPDX-License-Identifier: Apache-2.0
#include "transport/route.hpp"

#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <asio.hpp>
#include <cerrno>
#include <system_error>

#include "base/fd.hpp"

namespace migrate::transport {

std::string Route::text() const {
    if (!local.address.empty()) return fmt::format("{} from {}", remote.text(), local.address);
    if (!local.device.empty()) return fmt::format("{} by {}", remote.text(), local.device);
    return remote.text();
}

Status check_numeric(const std::string& address) {
    asio::error_code error;
    static_cast<void>(asio::ip::make_address(address, error));
    if (!error) return {};
    return make_error(ErrorKind::kUsage, "'{}' is not an IPv4 or IPv6 address", address);
}

Status check_mptcp() {
    const UniqueFd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
    if (probe) return {};
    const std::string reason = std::generic_category().message(errno);
    return make_error(ErrorKind::kUsage,
                      "this host has no MPTCP ({}): it needs a kernel with CONFIG_MPTCP, and "
                      "'sysctl net.mptcp.enabled=1'",
                      reason);
}

Status check_local(const LocalEnd& local) {
    if (local.mptcp) MIGRATE_TRY(check_mptcp());
    if (!local.device.empty() && ::if_nametoindex(local.device.c_str()) == 0) {
        return make_error(ErrorKind::kUsage,
                          "this host has no network interface '{}' ('ip link' lists them)",
                          local.device);
    }
    if (local.address.empty()) return {};
    MIGRATE_TRY(check_numeric(local.address));
    asio::error_code error;
    const asio::ip::tcp::endpoint end(asio::ip::make_address(local.address), 0);
    asio::io_context context;
    asio::ip::tcp::socket probe(context);
    probe.open(end.protocol(), error);
    if (!error) probe.bind(end, error);
    if (!error) return {};
    if (error.value() == EADDRNOTAVAIL) {
        return make_error(ErrorKind::kUsage,
                          "this host does not have the address {} ('ip address' lists them)",
                          local.address);
    }
    return make_error(ErrorKind::kUsage, "the address {} cannot be used: {}", local.address,
                      error.message());
}

}  // namespace migrate::transport
