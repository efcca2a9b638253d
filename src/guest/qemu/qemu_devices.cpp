// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/qemu_devices.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "guest/qemu/answer_fields.hpp"
#include "memory/foreign/foreign_writers.hpp"

namespace migrate::guest {
namespace {

// Returns the name of the first device, object or network back end that is one of `kinds`; empty if
// none. Examples of types are "vhost-user-blk-pci", "vfio-pci-nohotplug" and
// "cryptodev-vhost-user". The networks are QEMU's own text: "net0: index=0,type=vhost-user,…".
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

// Drivers of block nodes (BlockdevDriver) that give guest memory to a device or another process,
// with any cache mode.
constexpr std::array<std::string_view, 6> kDirectDrivers{"nvme",
                                                         "nvme-io_uring",
                                                         "io_uring",
                                                         "virtio-blk-vfio-pci",
                                                         "virtio-blk-vhost-user",
                                                         "virtio-blk-vhost-vdpa"};
// Drivers that read no file themselves (the node below them is listed separately), and drivers that
// copy data they receive or generate. cache.direct changes nothing for either.
constexpr std::array kCopyingDrivers = std::to_array<std::string_view>({"raw",
                                                                        "qcow2",
                                                                        "qcow",
                                                                        "qed",
                                                                        "vdi",
                                                                        "vmdk",
                                                                        "vpc",
                                                                        "vhdx",
                                                                        "parallels",
                                                                        "bochs",
                                                                        "cloop",
                                                                        "dmg",
                                                                        "luks",
                                                                        "throttle",
                                                                        "blkdebug",
                                                                        "blkverify",
                                                                        "blkreplay",
                                                                        "blklogwrites",
                                                                        "quorum",
                                                                        "replication",
                                                                        "compress",
                                                                        "copy-on-read",
                                                                        "copy-before-write",
                                                                        "snapshot-access",
                                                                        "preallocate",
                                                                        "mirror_top",
                                                                        "commit_top",
                                                                        "nbd",
                                                                        "rbd",
                                                                        "ssh",
                                                                        "http",
                                                                        "https",
                                                                        "ftp",
                                                                        "ftps",
                                                                        "nfs",
                                                                        "null-co",
                                                                        "null-aio",
                                                                        "vvfat"});

template <std::size_t N>
bool is_one_of(std::string_view driver, const std::array<std::string_view, N>& drivers) {
    return std::find(drivers.begin(), drivers.end(), driver) != drivers.end();
}

// The aio mode (threads, native or io_uring) does not matter, and QEMU does not report it: without
// cache.direct each mode copies from the page cache through QEMU's page tables, and with it each
// mode pins pages. An unknown driver counts as pinning.
bool pins_memory(const qmp::Json& node) {
    const std::string driver = text_of(node, "drv");
    if (is_one_of(driver, kDirectDrivers)) return true;
    if (is_one_of(driver, kCopyingDrivers)) return false;
    const auto cache = node.is_object() ? node.find("cache") : node.end();
    if (!node.is_object() || cache == node.end()) return true;
    return flag_of(*cache, "direct");
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
        "it has {}: a device of the host writes its guest's memory by DMA, which no dirty tracker "
        "sees, and has state of its own; unplug it first (device_del, netdev_del)",
        device);
}

Error cannot_be_migrated(std::string_view why) {
    return make_error("QEMU says that its guest cannot be migrated: {}", why);
}

std::string dirty_bitmap_of(const qmp::Json& nodes) {
    for (const qmp::Json& node : nodes) {
        const auto bitmaps = node.is_object() ? node.find("dirty-bitmaps") : node.end();
        if (!node.is_object() || bitmaps == node.end() || !bitmaps->is_array()) continue;
        for (const qmp::Json& bitmap : *bitmaps) {
            // One without a name belongs to a job of QEMU's own.
            const std::string name = text_of(bitmap, "name");
            if (!name.empty()) {
                return fmt::format("'{}' of the node '{}'", name, text_of(node, "node-name"));
            }
        }
    }
    return {};
}

Status check_devices_are_whole(Monitor& monitor) {
    // The processes of these keep no state that a move would lose.
    constexpr std::array<std::string_view, 3> kStateless{"vhost-user-blk", "vhost-user-scsi",
                                                         "vhost-user-net"};
    MIGRATE_ASSIGN(const std::vector<std::string> types, monitor.device_types());
    for (const std::string& type : types) {
        if (type.find("vhost-user-") == std::string::npos) continue;
        const bool stateless = std::any_of(
            kStateless.begin(), kStateless.end(),
            [&](std::string_view known) { return type.find(known) != std::string::npos; });
        if (stateless) continue;
        return make_error(
            "it has {}, whose process has state of its own that would stay behind; unplug it first "
            "(device_del)",
            type);
    }
    MIGRATE_ASSIGN(const qmp::Json nodes, monitor.ask("query-named-block-nodes", {{"flat", true}}));
    const std::string bitmap = dirty_bitmap_of(nodes);
    if (bitmap.empty()) return {};
    return make_error(
        "it has the dirty bitmap {}, which would stay behind; remove it first "
        "(block-dirty-bitmap-remove) and begin with a full backup at the destination",
        bitmap);
}

Result<std::string> outside_writer(Monitor& monitor) {
    constexpr std::array<std::string_view, 3> kProcesses{"vhost-user", "x-pci-proxy-dev",
                                                         "ivshmem-"};
    // These devices read by SCSI commands that name guest memory.
    constexpr std::array<std::string_view, 3> kPinning{"vhost-scsi", "scsi-block", "scsi-generic"};
    MIGRATE_ASSIGN(std::string device, find_kind(monitor, kProcesses));
    if (!device.empty()) {
        return fmt::format("it has {}, whose process writes its memory, too, and would not be seen",
                           device);
    }
    MIGRATE_ASSIGN(device, find_kind(monitor, kPinning));
    if (!device.empty()) {
        return fmt::format("it has {}, whose reads go to memory that was marked before", device);
    }
    MIGRATE_ASSIGN(const qmp::Json nodes, monitor.ask("query-named-block-nodes", {{"flat", true}}));
    return direct_io_of(nodes);
}

std::string direct_io_of(const qmp::Json& nodes) {
    for (const qmp::Json& node : nodes) {
        if (!pins_memory(node)) continue;
        return fmt::format(
            "its block node '{}' ({}, {}) uses direct I/O (cache.direct), whose reads go to memory "
            "that was marked before",
            text_of(node, "node-name"), text_of(node, "drv"), text_of(node, "file"));
    }
    return {};
}

}  // namespace migrate::guest
