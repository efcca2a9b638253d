// Work queues of the kernel's driver: opened, tried, and described where they cannot be used.
#pragma once

#include <chrono>
#include <memory>

#include "accel/dsa/portal.hpp"
#include "accel/dsa/queue_info.hpp"
#include "base/error.hpp"

namespace migrate::accel::dsa {

// Opens /dev/dsa/wqD.Q: by its portal, or by write() for a process that may not map one (on devices
// of version 0x100 that needs CAP_SYS_RAWIO, INTEL-SA-01084). A NOOP is sent through it, and has to
// be answered within `probe_time`. An error says what is in the way and what removes it.
Result<std::unique_ptr<Portal>> open_device_portal(
    const QueueInfo& info, std::chrono::milliseconds probe_time = std::chrono::seconds(1));

}  // namespace migrate::accel::dsa
