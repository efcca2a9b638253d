// What devices of a QEMU mean for its guest's memory.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/error.hpp"
#include "guest/qemu/monitor.hpp"

namespace migrate::guest {

// Refuses a guest with a device of the host in it (VFIO, iommufd, vDPA): that writes memory by DMA
// whenever it likes, and its own state is not QEMU's to move. `pid` 0: not known.
Status check_no_host_device(Monitor& monitor, pid_t pid);

// Why a process beside QEMU may write the guest's memory (vhost-user), whether or not that process
// can be found; empty: none does.
Result<std::string> outside_writer(Monitor& monitor);

}  // namespace migrate::guest
