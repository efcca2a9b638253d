// How a migration comes to a QEMU, on either side: it claims the process before it says a word.
#pragma once

#include <memory>

#include "base/error.hpp"
#include "guest/external/process_claim.hpp"
#include "guest/qemu/monitor.hpp"
#include "guest/qemu/qemu_memory.hpp"

namespace migrate::guest {

struct ClaimedMonitor {
    std::unique_ptr<Monitor> monitor;
    ProcessClaim claim;
};

// kRefused if another migration, a sender's or a receiver's, has claimed that QEMU, by whichever of
// its sockets.
Result<ClaimedMonitor> claim_monitor(const QemuAddress& address);

}  // namespace migrate::guest
