// What devices of a QEMU mean for its guest's memory.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/error.hpp"
#include "guest/qemu/monitor.hpp"
#include "qmp/message.hpp"

namespace migrate::guest {

// Refuses a guest with a device of the host in it (VFIO, iommufd, vDPA): that writes memory by DMA
// whenever it likes, and its own state is not QEMU's to move. `pid` 0: not known.
Status check_no_host_device(Monitor& monitor, pid_t pid);

// Why the guest's memory may be written past QEMU's page tables, as a clause: by a process beside
// QEMU (vhost-user), or by direct I/O of its disks. Whether it is under way does not matter.
// Empty: nothing writes so. QEMU is asked; its open files are for memory/foreign_writers.hpp.
Result<std::string> outside_writer(Monitor& monitor);

// The same of the answer to query-named-block-nodes, which lists every node of every disk, below
// formats and filters, too: whether one pins guest memory to write it later.
std::string direct_io_of(const qmp::Json& nodes);

}  // namespace migrate::guest
