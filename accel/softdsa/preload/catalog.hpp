// SPDX-License-Identifier: Apache-2.0
// Reads what scripts/with-softdsa made and what never changes: the devices and the files that stand
// for their queues. The configuration of the queues is in the shared part (SharedDevices).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

#include "accel/softdsa/device_config.hpp"
#include "accel/softdsa/preload/tree.hpp"

namespace migrate::accel::softdsa::preload {

// The file that /dev/dsa/wqD.Q is while the queue is enabled; its inode stays the same.
struct Node {
    dev_t file_system = 0;
    ino_t inode = 0;
    std::size_t device = 0;  // index in Catalog::devices
    std::size_t queue = 0;   // index of the device's queue
};

struct Catalog {
    std::vector<DeviceConfig> devices;
    std::vector<Node> nodes;
    std::string error;  // not empty: the tree describes something that no device can do
};

// Returns no devices if there is no such tree; the tree of a kernel with the idxd driver is not
// one.
Catalog read_catalog(const Tree& tree);

}  // namespace migrate::accel::softdsa::preload
