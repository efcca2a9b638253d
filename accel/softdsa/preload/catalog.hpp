// What the sysfs tree that scripts/with-softdsa made says: the devices, their queues and nodes. The
// tree is the only description there is, so that a client and this library read the same numbers.
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
    std::size_t device = 0;  // an index of Catalog::devices
    std::size_t queue = 0;   // an index of its queues
    bool dedicated = false;
};

struct Catalog {
    std::vector<DeviceConfig> devices;
    std::vector<Node> nodes;
    std::string error;  // not empty: the tree says something no device can do
};

inline constexpr const char* kSysfsRoot = "/sys/bus/dsa";
inline constexpr const char* kNodeFolder = "/dev/dsa";

// Without devices where there is no such tree; a tree of a kernel with the idxd driver is none.
Catalog read_catalog(const std::string& sysfs = kSysfsRoot, const std::string& nodes = kNodeFolder);

}  // namespace migrate::accel::softdsa::preload
