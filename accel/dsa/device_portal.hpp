// SPDX-License-Identifier: Apache-2.0
// Opens and probes work queues of the kernel's driver, and explains why one cannot be used.
#pragma once

#include <chrono>
#include <memory>

#include "accel/dsa/portal.hpp"
#include "accel/dsa/queue_info.hpp"
#include "base/error.hpp"

namespace migrate::accel::dsa {

// Opens /dev/dsa/wqD.Q: through its portal, or through write() for a process that may not map a
// portal (on devices of version 0x100 that needs CAP_SYS_RAWIO, INTEL-SA-01084). Sends a NOOP,
// lets the device check a page of zeros and another page, and sends a batch of both; all must be
// answered within `probe_time`. Without an answer to the batch the portal has no batches. An Error
// names the obstacle and its remedy.
Result<std::unique_ptr<Portal>> open_device_portal(
    const QueueInfo& info, std::chrono::milliseconds probe_time = std::chrono::seconds(1));

}  // namespace migrate::accel::dsa
