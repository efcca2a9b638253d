// SPDX-License-Identifier: Apache-2.0
#include "cli/probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "accel/dsa/device_portal.hpp"
#include "accel/dsa/queue_info.hpp"
#include "accel/zero_kernel.hpp"
#include "base/config/unit_text.hpp"
#include "memory/dirty/dirty_tracker.hpp"
#include "memory/foreign/foreign_userfaultfd.hpp"
#include "memory/sink/placement.hpp"

namespace migrate::cli {
namespace {

ProbedGroup probe_trackers() {
    ProbedGroup group{"dirty-trackers", "Dirty trackers", {}};
    for (memory::DirtyTrackerSupport& tracker : memory::probe_dirty_trackers()) {
        group.items.push_back({std::move(tracker.name), tracker.usable, std::move(tracker.detail)});
    }
    return group;
}

// Shows how the receiver fills each kind of memory.
ProbedGroup probe_placement() {
    ProbedGroup group{"placement", "Placement", {}};
    for (const memory::PlacementSupport& support : memory::probe_placements()) {
        group.items.push_back(
            {std::string(support.memory), true,
             fmt::format("{}: {}", name_of(support.choice.placement), support.choice.reason)});
    }
    return group;
}

// Checks the means to move a running QEMU, or any other process.
ProbedGroup probe_processes() {
    const Status status = memory::probe_foreign_userfaultfd();
    return {"processes",
            "Other processes",
            {{"ptrace", static_cast<bool>(status),
              status ? "processes of this user can be attached to, and their writes be tracked"
                     : status.error().message()}}};
}

ProbedGroup probe_zero_kernels() {
    ProbedGroup group{"zero-kernels", "Zero kernels", {}};
    for (const accel::ZeroKernel& kernel : accel::all_zero_kernels()) {
        const bool usable = kernel.supported();
        group.items.push_back({std::string(kernel.name), usable,
                               usable ? "this CPU runs it" : "this CPU does not have it"});
    }
    return group;
}

ProbedItem probe_queue(const accel::dsa::QueueInfo& info) {
    ProbedItem item{fmt::format("dsa:{}", info.path), false, ""};
    const auto portal = accel::dsa::open_device_portal(info);
    if (!portal) {
        item.detail = portal.error().message();
        return item;
    }
    const accel::dsa::QueueLimits& limits = (*portal)->limits();
    item.usable = true;
    item.detail = fmt::format(
        "{}, {} entries, threshold {}, batches of {}, transfers of {}, NUMA node {}, by {}{}",
        info.mode, info.size, info.threshold, limits.batch, exact_bytes_text(limits.transfer_bytes),
        info.numa_node, (*portal)->access(),
        info.model.empty() ? "" : fmt::format(", in {}", info.model));
    return item;
}

// Probes every work queue of every device, and the software device, which is always there.
ProbedGroup probe_dsa() {
    ProbedGroup group{"dsa", "DSA work queues", {}};
    const auto queues = accel::dsa::discover_queues();
    if (!queues) {
        group.items.push_back({"dsa", false, queues.error().message()});
    } else if (queues->empty()) {
        const accel::dsa::Obstacle why = accel::dsa::why_no_device();
        group.items.push_back({"dsa", false, fmt::format("{}; {}", why.reason, why.remedy)});
    } else {
        for (const accel::dsa::QueueInfo& info : *queues) group.items.push_back(probe_queue(info));
    }
    group.items.push_back(
        {"softdsa:N", true, "a software device with N queues: for tests, never for speed"});
    return group;
}

}  // namespace

std::vector<ProbedGroup> probe_host() {
    return {probe_trackers(), probe_zero_kernels(), probe_dsa(), probe_processes(),
            probe_placement()};
}

std::string probe_text(std::span<const ProbedGroup> groups) {
    std::string text;
    for (const ProbedGroup& group : groups) {
        std::size_t width = 0;
        for (const ProbedItem& item : group.items) width = std::max(width, item.name.size());
        if (!text.empty()) text += '\n';
        text += fmt::format("{}:\n", group.title);
        for (const ProbedItem& item : group.items) {
            text += fmt::format("  {:<{}}  {:<3}  {}\n", item.name, width,
                                item.usable ? "yes" : "no", item.detail);
        }
    }
    return text;
}

std::string probe_json(std::span<const ProbedGroup> groups) {
    nlohmann::ordered_json json = nlohmann::ordered_json::object();
    for (const ProbedGroup& group : groups) {
        nlohmann::ordered_json items = nlohmann::ordered_json::array();
        for (const ProbedItem& item : group.items) {
            items.push_back(
                {{"name", item.name}, {"usable", item.usable}, {"detail", item.detail}});
        }
        json[group.key] = std::move(items);
    }
    return json.dump(4, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace migrate::cli
