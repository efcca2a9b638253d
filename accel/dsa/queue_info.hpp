// What the kernel says of work queues, and what keeps one from being used.
// Source: sysfs-driver-dma-idxd (the kernel's ABI documentation). The files are read here and not
// through libaccel-config, which takes a missing number for a huge one; it only says which devices
// there are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "accel/dsa/portal.hpp"
#include "base/error.hpp"

namespace migrate::accel::dsa {

// Where the kernel shows the devices and gives them out.
struct Places {
    std::filesystem::path sysfs = "/sys/bus/dsa/devices";
    std::filesystem::path nodes = "/dev/dsa";
};

struct QueueInfo {
    std::string name;    // "wq0.1"
    std::string device;  // "dsa0"
    std::string path;    // "/dev/dsa/wq0.1"
    std::string device_state;
    std::string state;
    std::string type;  // "user", "kernel", "none"
    std::string mode;  // "shared", "dedicated"
    std::uint32_t size = 0;
    std::uint32_t threshold = 0;
    std::uint32_t clients = 0;
    std::uint32_t version = 0;              // of the device: 0x100
    bool shared_virtual_addresses = false;  // pasid_enabled
    int numa_node = -1;
    bool software = false;  // one of scripts/with-softdsa
    QueueLimits limits;
};

// Why a queue cannot be used, and the command or setting that removes the obstacle.
struct Obstacle {
    std::string reason;
    std::string remedy;
};

// `name` as in sysfs: "wq0.1".
Result<QueueInfo> read_queue_info(std::string_view name, const Places& places = {});
// The first one there is; whether this user may open the node is asked last.
std::optional<Obstacle> find_obstacle(const QueueInfo& info);

// All queues of all devices, enabled or not, as libaccel-config finds them.
Result<std::vector<QueueInfo>> discover_queues();
// Why discover_queues() found nothing.
Obstacle why_no_device(const Places& places = {});

}  // namespace migrate::accel::dsa
