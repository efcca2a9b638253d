// SPDX-License-Identifier: Apache-2.0
// The attributes of sysfs that may be written, and what the Linux driver accepts for each. Source:
// Linux drivers/dma/idxd/sysfs.c and Documentation/ABI/stable/sysfs-driver-dma-idxd.
#pragma once

#include <string_view>

#include "accel/softdsa/device_config.hpp"
#include "accel/softdsa/preload/tree.hpp"

namespace migrate::accel::softdsa::preload {

bool is_writable(const AttributeName& name);
// Writes an attribute of a device, queue, group or engine. Returns 0 or an errno: EACCES if it is
// read-only, EPERM or ENXIO if it cannot be changed in the present state, EINVAL for a wrong value.
int store_attribute(const Tree& tree, const AttributeName& name, std::string_view text);

// Reset what the driver resets when it disables a queue, and a device.
void clear_queue(const Tree& tree, const Part& queue);
void clear_device(const Tree& tree, const Part& device);

// Returns the configuration that the files of a queue state. A number that is out of range becomes
// the nearest one that a device can have.
QueueConfig read_queue_config(const Tree& tree, const Part& queue);
// Returns the groups that the files of a device state.
Groups read_groups(const Tree& tree, const Part& device);

}  // namespace migrate::accel::softdsa::preload
