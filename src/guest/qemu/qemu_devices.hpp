// SPDX-License-Identifier: Apache-2.0
// Checks the devices of a QEMU for effects on its guest's memory.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "guest/qemu/monitor.hpp"
#include "qmp/message.hpp"

namespace migrate::guest {

// Refuses a guest that has a host device (VFIO, iommufd, vDPA): the device can write memory by DMA
// at any time, and QEMU cannot move the device's own state. `pid` 0: not known.
Status check_no_host_device(Monitor& monitor, pid_t pid);

// Refuses a guest that has state which no device's own saved state contains, so that saving the
// devices alone would lose it: dirty bitmaps of disks, and vhost-user devices whose process keeps
// state. QEMU itself refuses other devices (QemuMigration::blocked).
Status check_devices_are_whole(Monitor& monitor);

// The error for a guest that QEMU refuses to migrate for that reason.
Error cannot_be_migrated(std::string_view why);

// The first dirty bitmap in the answer to query-named-block-nodes: "'b0' of the node 'disk0'";
// empty if there is none.
std::string dirty_bitmap_of(const qmp::Json& nodes);

// Returns why the guest's memory may be written past QEMU's page tables, as a clause: by a process
// beside QEMU (vhost-user), or by direct I/O of its disks. It does not matter whether such a write
// is in progress. Empty if nothing writes so. Only QEMU is asked;
// memory/foreign/foreign_writers.hpp examines its open files.
Result<std::string> outside_writer(Monitor& monitor);

// Does the same for the answer to query-named-block-nodes, which lists every node of every disk,
// including those below formats and filters: finds a node that pins guest memory and writes it
// later.
std::string direct_io_of(const qmp::Json& nodes);

}  // namespace migrate::guest
