// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/preload/configuration.hpp"

#include <cerrno>

#include "accel/softdsa/preload/attribute_rules.hpp"
#include "accel/softdsa/preload/client_count.hpp"

namespace migrate::accel::softdsa::preload {
namespace {

constexpr std::uint64_t kDrainLimitNs = 10'000'000'000;

// Values of cmd_status: those of the device (enum idxd_cmdsts_err, with the meanings that
// libaccel-config prints) and those of the driver (enum idxd_scmd_stat).
constexpr const char* kGroupLacksPart = "0x15";
constexpr const char* kNoPriority = "0x23";
constexpr const char* kDeviceEnabled = "0x80000010";
constexpr const char* kDeviceNotEnabled = "0x80000020";
constexpr const char* kNoGroup = "0x80030000";
constexpr const char* kNoName = "0x80040000";
constexpr const char* kNoThreshold = "0x80060000";
constexpr const char* kNoneConfigured = "0x800d0000";
constexpr const char* kNoSize = "0x800e0000";

}  // namespace

int Configuration::store(const AttributeName& name, std::string_view text) {
    if (text.ends_with('\n')) text.remove_suffix(1);
    const FileLock lock(tree_.file("lock"));
    if (name.part.kind != Kind::kDriver) return store_attribute(tree_, name, text);
    const auto part = Part::parse(text);
    if (!part || !exists(tree_.folder(*part))) return ENODEV;
    if (name.attribute == "bind") return bind(name.part, *part);
    return name.attribute == "unbind" ? unbind(name.part, *part) : EACCES;
}

int Configuration::bind(const Part& driver, const Part& part) {
    if (is_link(tree_.attribute(part, "driver"))) return EBUSY;
    if (driver.name == "idxd" && part.kind == Kind::kDevice) return enable_device(part);
    if (driver.name == "user" && part.kind == Kind::kQueue) return enable_queue(part);
    // There are no queues for the kernel's own use.
    return driver.name == "dmaengine" && part.kind == Kind::kQueue ? EOPNOTSUPP : ENODEV;
}

int Configuration::unbind(const Part& driver, const Part& part) {
    if (!is_link(tree_.driver_file(driver.name, part.name))) return ENODEV;
    if (part.kind == Kind::kDevice)
        disable_device(part);
    else
        disable_queue(part);
    return 0;
}

int Configuration::refuse(const Part& part, const char* command_status, int error) const {
    tree_.set(Part::whole(part.device), "cmd_status", command_status);
    return error;
}

// Sets the link from a part to its driver, and back; an empty name removes both.
void Configuration::set_driver(const Part& part, const std::string& driver) const {
    const bool is_device = part.kind == Kind::kDevice;
    const std::string link = tree_.attribute(part, "driver");
    if (driver.empty()) {
        remove_file(tree_.driver_file(is_device ? "idxd" : "user", part.name));
        remove_file(link);
        return;
    }
    // From the folder of the device below its PCI device, where programs see it.
    make_symbolic_link(
        (is_device ? "../../../../bus/dsa/drivers/" : "../../../../../bus/dsa/drivers/") + driver,
        link);
    make_symbolic_link("../../devices/" + part.name, tree_.driver_file(driver, part.name));
}

int Configuration::enable_device(const Part& device) {
    if (tree_.text(device, "state") != "disabled") return refuse(device, kDeviceEnabled, ENXIO);
    bool configured = false;
    for (std::size_t i = 0; i < kMostQueues; ++i)
        configured = configured || tree_.text(Part::queue(device.device, i), "group_id") != "-1";
    if (!configured) return refuse(device, kNoneConfigured, ENXIO);
    const Groups groups = read_groups(tree_, device);
    if (!groups.has_engines()) return ENXIO;  // the driver gives no reason
    if (!groups.complete()) return refuse(device, kGroupLacksPart, ENXIO);
    if (!tree_.set(device, "state", "enabled")) return EACCES;
    // They stay as they are now until the device is disabled, whatever is written to the files.
    shared_.device(device.device).set_groups(groups);
    set_driver(device, "idxd");
    return 0;
}

int Configuration::enable_queue(const Part& queue) {
    if (tree_.text(Part::whole(queue.device), "state") != "enabled")
        return refuse(queue, kDeviceNotEnabled, ENXIO);
    if (tree_.text(queue, "driver_name") != "user") return ENODEV;
    if (tree_.text(queue, "type") == "kernel") return EOPNOTSUPP;
    SharedQueue& device_queue = shared_.device(queue.device).queues[queue.number];
    const bool was_grouped = device_queue.group.index() != SharedGroup::kNone;
    if (tree_.text(queue, "group_id") == "-1" || !was_grouped)
        return refuse(queue, kNoGroup, ENXIO);
    if (tree_.text(queue, "name").empty()) return refuse(queue, kNoName, ENXIO);
    if (tree_.number(queue, "size") == 0) return refuse(queue, kNoSize, ENXIO);
    const bool shared = tree_.text(queue, "mode") != "dedicated";
    if (shared && tree_.number(queue, "threshold") == 0) return refuse(queue, kNoThreshold, ENXIO);
    if (tree_.number(queue, "priority") == 0) return refuse(queue, kNoPriority, ENXIO);
    if (!tree_.set(queue, "state", "enabled")) return EACCES;
    tree_.set(queue, "type", "user");
    tree_.set(queue, "cdev_minor", std::to_string(queue.number));
    set_driver(queue, "user");
    device_queue.configure(read_queue_config(tree_, queue));
    device_queue.enable();
    make_hard_link(tree_.hidden_node(queue.name), tree_.node(queue.name));
    return 0;
}

void Configuration::disable_queue(const Part& queue) {
    remove_file(tree_.node(queue.name));
    // First, so that a client that finds the queue closed also finds the reason.
    tree_.set(queue, "state", "disabled");
    shared_.device(queue.device).queues[queue.number].disable();
    // Not answered in time: by a fault plan, for example. The driver would wait for ever.
    static_cast<void>(shared_.await_drained(queue.device, queue.number, kDrainLimitNs));
    set_driver(queue, "");
    clear_queue(tree_, queue);
}

void Configuration::disable_device(const Part& device) {
    for (std::size_t i = 0; i < kMostQueues; ++i) {
        const Part queue = Part::queue(device.device, i);
        if (is_link(tree_.attribute(queue, "driver"))) disable_queue(queue);
    }
    set_driver(device, "");
    clear_device(tree_, device);
    shared_.device(device.device).set_groups({});
    shared_.device(device.device).halted.store(false);
    tree_.set(device, "state", "disabled");
}

unsigned Configuration::clients(const Part& queue) const {
    return count_clients(tree_.hidden_node(queue.name));
}

void Configuration::refresh(const AttributeName& name) {
    const Part& part = name.part;
    std::string value;
    if (part.kind == Kind::kQueue && name.attribute == "occupancy") {
        value = std::to_string(shared_.device(part.device).queues[part.number].occupancy());
    } else if (part.kind == Kind::kQueue && name.attribute == "clients") {
        value = std::to_string(clients(part));
    } else if (part.kind == Kind::kDevice && name.attribute == "clients") {
        unsigned all = 0;
        for (std::size_t i = 0; i < kMostQueues; ++i) all += clients(Part::queue(part.device, i));
        value = std::to_string(all);
    } else if (part.kind == Kind::kDevice && name.attribute == "state") {
        if (!shared_.device(part.device).halted.load()) return;
        value = "halted";
    } else {
        return;
    }
    if (tree_.text(part, name.attribute) != value) tree_.set(part, name.attribute, value);
}

void Configuration::adopt() {
    if (shared_.ready.load()) return;
    const FileLock lock(tree_.file("lock"));
    if (shared_.ready.load()) return;
    for (std::size_t d = 0; d < kMostDevices && exists(tree_.folder(Part::whole(d))); ++d) {
        if (tree_.text(Part::whole(d), "state") == "enabled")
            shared_.device(d).set_groups(read_groups(tree_, Part::whole(d)));
        for (std::size_t q = 0; q < kMostQueues; ++q) {
            const Part queue = Part::queue(d, q);
            if (tree_.text(queue, "state") != "enabled") continue;
            SharedQueue& shared = shared_.device(d).queues[q];
            shared.configure(read_queue_config(tree_, queue));
            shared.enable();
        }
    }
    shared_.ready.store(true);
}

}  // namespace migrate::accel::softdsa::preload
