// Reads the sysfs tree that scripts/with-softdsa made: the devices, their queues and nodes. The
// tree is the only description, so that a client and this library read the same numbers.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

#include "accel/softdsa/device.hpp"

namespace migrate::accel::softdsa::preload {

// One file /dev/dsa/wqD.Q.
struct Node {
    dev_t file_system = 0;
    ino_t inode = 0;
    std::size_t device = 0;  // index in Catalog::devices
    std::size_t queue = 0;   // index of the device's queue
    bool dedicated = false;
};

struct Catalog {
    std::vector<DeviceConfig> devices;
    std::vector<Node> nodes;
    std::string error;  // not empty: the tree describes something that no device can do
};

inline constexpr const char* kSysfsRoot = "/sys/bus/dsa";
inline constexpr const char* kNodeFolder = "/dev/dsa";

// Returns no devices if there is no such tree; the tree of a kernel with the idxd driver is not
// one.
Catalog read_catalog(const std::string& sysfs = kSysfsRoot, const std::string& nodes = kNodeFolder);

}  // namespace migrate::accel::softdsa::preload
