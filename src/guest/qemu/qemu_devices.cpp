#include "guest/qemu/qemu_devices.hpp"

#include <array>
#include <string_view>
#include <vector>

#include "memory/foreign_writers.hpp"

namespace migrate::guest {
namespace {

// Names the first device, object or network back end that is one of `kinds`; empty: none. Types are
// such as "vhost-user-blk-pci", "vfio-pci-nohotplug", "cryptodev-vhost-user"; the networks are
// QEMU's own words: "net0: index=0,type=vhost-user,…".
template <std::size_t N>
Result<std::string> find_kind(Monitor& monitor, const std::array<std::string_view, N>& kinds) {
    MIGRATE_ASSIGN(const std::vector<std::string> types, monitor.device_types());
    MIGRATE_ASSIGN(const std::string networks, monitor.networks());
    for (const std::string_view kind : kinds) {
        for (const std::string& type : types) {
            if (type.find(kind) != std::string::npos) return type;
        }
        if (networks.find(fmt::format("type={}", kind)) != std::string::npos) {
            return fmt::format("-netdev {}", kind);
        }
    }
    return std::string();
}

}  // namespace

Status check_no_host_device(Monitor& monitor, pid_t pid) {
    constexpr std::array<std::string_view, 2> kKinds{"vfio-", "vhost-vdpa"};
    MIGRATE_ASSIGN(std::string device, find_kind(monitor, kKinds));
    if (device.empty() && pid != 0) {
        device = memory::open_file_of(pid, memory::FileAccessPath::kDevice);
    }
    if (device.empty()) return {};
    return make_error(
        "it has {}: a device of the host writes its guest's memory by DMA, which nobody sees, and "
        "has state of its own; unplug it first (device_del, netdev_del)",
        device);
}

Result<std::string> outside_writer(Monitor& monitor) {
    constexpr std::array<std::string_view, 1> kKinds{"vhost-user"};
    MIGRATE_ASSIGN(const std::string device, find_kind(monitor, kKinds));
    if (device.empty()) return std::string();
    return fmt::format("it has {}, whose process writes its memory, too, and would not be seen",
                       device);
}

}  // namespace migrate::guest
