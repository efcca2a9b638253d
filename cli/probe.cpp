#include "cli/probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "accel/zero_kernel.hpp"
#include "memory/dirty_tracker.hpp"

namespace migrate::cli {
namespace {

ProbedGroup probe_trackers() {
    ProbedGroup group{"dirty-trackers", "Dirty trackers", {}};
    for (memory::DirtyTrackerSupport& tracker : memory::probe_dirty_trackers()) {
        group.items.push_back({std::move(tracker.name), tracker.usable, std::move(tracker.detail)});
    }
    return group;
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

}  // namespace

std::vector<ProbedGroup> probe_host() { return {probe_trackers(), probe_zero_kernels()}; }

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
