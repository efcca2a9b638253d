#include "guest/qemu/claimed_monitor.hpp"

#include <string>
#include <utility>

namespace migrate::guest {

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
    MIGRATE_ASSIGN(claimed.monitor, Monitor::connect(path, std::move(socket)));
    return claimed;
}

}  // namespace migrate::guest
