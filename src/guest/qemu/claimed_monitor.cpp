// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/claimed_monitor.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "base/log.hpp"
#include "base/wait.hpp"

namespace migrate::guest {
namespace {

// QEMU greets at once if it has no other client. One that just left may still be served.
constexpr std::chrono::milliseconds kGreeting{1'000};

// The address of the socket at the other end, as its owner bound it; empty if it has none.
std::string bound_address(int socket) {
    sockaddr_un address{};
    socklen_t size = sizeof address;
    if (::getpeername(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
    const std::size_t longest = size - std::min<std::size_t>(size, offsetof(sockaddr_un, sun_path));
    return {address.sun_path, ::strnlen(address.sun_path, longest)};
}

// True if the server has accepted a connection at this address (/proc/net/unix, unix(7)): one that
// waits to be accepted has no inode.
bool has_client(const std::string& address) {
    constexpr std::string_view kConnected = "03";
    std::ifstream table("/proc/net/unix");
    for (std::string line; std::getline(table, line);) {
        std::istringstream words(line);
        std::string number, references, protocol, flags, type, state, inode, path;
        words >> number >> references >> protocol >> flags >> type >> state >> inode >> std::ws;
        std::getline(words, path);
        if (path == address && state == kConnected && inode != "0") return true;
    }
    return false;
}

Status check_no_other_client(int socket, const std::string& path) {
    if (readable_within(socket, kGreeting)) return {};
    const std::string address = bound_address(socket);
    if (address.empty() || !has_client(address)) {
        log::info("QEMU does not greet on {} yet; migrate waits for up to {} ms", path,
                  kQmpPatience.count());
        return {};
    }
    return make_error(
        ErrorKind::kRefused,
        "another client is connected to QEMU's socket {}, and QEMU serves one at a "
        "time: end that client, or give QEMU another socket (-qmp unix:PATH,server=on,"
        "wait=off)",
        path);
}

}  // namespace

Result<ClaimedMonitor> claim_monitor(const QemuAddress& address) {
    const std::string path(address.socket);
    const std::string what = "the QEMU at " + path;
    ClaimedMonitor claimed;
    MIGRATE_ASSIGN(UniqueFd socket, Monitor::dial(path));
    // Claim before waiting for the greeting, which does not come while another migration uses the
    // socket.
    MIGRATE_ASSIGN(claimed.claim, address.pid != 0
                                      ? ProcessClaim::take(address.pid, what)
                                      : ProcessClaim::take_listener(socket.get(), what));
    MIGRATE_TRY(check_no_other_client(socket.get(), path));
    MIGRATE_ASSIGN(claimed.monitor, Monitor::connect(path, std::move(socket)));
    return claimed;
}

}  // namespace migrate::guest
