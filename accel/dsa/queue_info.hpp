// SPDX-License-Identifier: Apache-2.0
// Reads the kernel's description of work queues, and finds obstacles to their use. Source:
// sysfs-driver-dma-idxd (the kernel's ABI documentation). The files are read here and not through
// libaccel-config, which returns a huge number for a missing one; the library only lists the
// devices.
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

// The places where the kernel shows the devices and their nodes.
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
    std::uint32_t version = 0;  // of the device, such as 0x100
    std::string model;          // "Granite Rapids D"; empty: not known
    std::string operations;  // op_config of the queue, else op_cap of the device; empty: not known
    bool shared_virtual_addresses = false;  // pasid_enabled
    int numa_node = -1;
    bool software = false;  // made by scripts/with-softdsa
    QueueLimits limits;
};

// The reason why a queue cannot be used, and the command or setting that removes the obstacle.
struct Obstacle {
    std::string reason;
    std::string remedy;
};

// `name` is the name in sysfs: "wq0.1".
Result<QueueInfo> read_queue_info(std::string_view name, const Places& places = {});
// Returns the first obstacle, if any; checks last that this user may open the node.
std::optional<Obstacle> find_obstacle(const QueueInfo& info);
// Returns what was disabled after the queue was opened: "the queue is disabled"; empty: neither it
// nor its device.
std::string what_is_disabled(const QueueInfo& info, const Places& places = {});

// Returns the processors that have the DSA device with this PCI device number; empty if it is not
// known.
std::string_view model_of(std::uint32_t pci_device);
// Returns whether `words`, as in op_cap and op_config (hexadecimal words of 32 bits with commas
// between them, the most significant first), have the operation; nothing if they cannot be read.
std::optional<bool> has_operation(std::string_view words, Opcode opcode);

// Returns all queues of all devices, enabled or not, that libaccel-config lists.
Result<std::vector<QueueInfo>> discover_queues();
// Explains why discover_queues() found nothing.
Obstacle why_no_device(const Places& places = {});

}  // namespace migrate::accel::dsa
