// SPDX-License-Identifier: Apache-2.0
// Connects a migration to a QEMU, on either side: it claims the process before it sends anything.
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

// kRefused if another migration (sender or receiver) has claimed that QEMU through any of its
// sockets.
Result<ClaimedMonitor> claim_monitor(const QemuAddress& address);

}  // namespace migrate::guest
