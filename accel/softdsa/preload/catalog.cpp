// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/preload/catalog.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "accel/softdsa/shared_device.hpp"

namespace migrate::accel::softdsa::preload {
namespace {

// Parses "LATENCY_NS,DESCRIPTOR_NS,BYTES_PER_SECOND", or an empty text for no timing.
std::optional<Timing> parse_timing(std::string_view text) {
    Timing timing;
    if (text.empty()) return timing;
    std::array<std::uint64_t*, 3> fields{&timing.latency_ns, &timing.descriptor_ns,
                                         &timing.bytes_per_second};
    for (std::uint64_t* field : fields) {
        const std::size_t comma = std::min(text.find(','), text.size());
        const auto number = parse_number(text.substr(0, comma));
        if (!number) return std::nullopt;
        *field = *number;
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    if (!text.empty() || timing.bytes_per_second == 0) return std::nullopt;
    timing.enabled = true;
    return timing;
}

// Returns the largest configuration that a queue of the device may get. Its present configuration
// is in the shared part.
QueueConfig largest_queue(const Tree& tree, const Part& device) {
    QueueConfig queue;
    queue.size = static_cast<std::uint32_t>(
        std::clamp<std::uint64_t>(tree.number(device, "max_work_queues_size"), 1, kMostQueueSize));
    queue.max_batch = static_cast<std::uint32_t>(
        std::clamp<std::uint64_t>(tree.number(device, "max_batch_size"), 1, 1024));
    return queue;
}

void read_nodes(Catalog& catalog, const Tree& tree, std::size_t device) {
    for (std::size_t queue = 0; queue < kMostQueues; ++queue) {
        const std::string path = tree.hidden_node(Part::queue(device, queue).name);
        struct stat status {};
        if (::stat(path.c_str(), &status) != 0) {
            catalog.error = path + " is missing";
            return;
        }
        catalog.nodes.push_back({status.st_dev, status.st_ino, device, queue});
    }
}

}  // namespace

Catalog read_catalog(const Tree& tree) {
    Catalog catalog;
    const auto timing_text = read_text(tree.file("timing"));
    const auto plan_text = read_text(tree.file("faults"));
    if (!timing_text || !plan_text) return catalog;
    const auto timing = parse_timing(*timing_text);
    if (!timing) {
        catalog.error =
            "the timing '" + *timing_text + "' is not LATENCY_NS,DESCRIPTOR_NS,BYTES_PER_SECOND";
        return catalog;
    }
    const auto engines = parse_number(read_text(tree.file("engines")).value_or(""));
    if (!engines || *engines > kMostEngines) {
        catalog.error = tree.file("engines") + " is not a number from 0 to 16";
        return catalog;
    }
    const ParsedFaultPlan faults = parse_fault_plan(*plan_text);
    if (!faults.error.empty()) {
        catalog.error = "the fault plan '" + *plan_text + "': " + faults.error;
        return catalog;
    }
    for (std::size_t i = 0; i < kMostDevices; ++i) {
        const Part part = Part::whole(i);
        if (!exists(tree.folder(part))) break;
        DeviceConfig device;
        device.queues.assign(kMostQueues, largest_queue(tree, part));
        // One thread for each engine that the device has, whether or not it is in a group now.
        device.engines = static_cast<std::uint32_t>(
            *engines == 0
                ? 0
                : std::min<std::uint64_t>(tree.number(part, "max_engines"), kMostEngines));
        device.timing = *timing;
        device.faults = faults.plan;
        // Different seeds keep the devices from failing at the same time.
        device.faults.seed += i;
        catalog.devices.push_back(std::move(device));
        read_nodes(catalog, tree, i);
    }
    return catalog;
}

}  // namespace migrate::accel::softdsa::preload
