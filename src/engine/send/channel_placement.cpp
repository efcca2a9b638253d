// SPDX-License-Identifier: Apache-2.0
#include "engine/send/channel_placement.hpp"

#include <algorithm>
#include <map>

#include "memory/numa_node.hpp"

namespace migrate::engine {

ChannelPlacement ChannelPlacement::plan(const NumaTopology& nodes, const CpuSet& allowed,
                                        std::span<const RegionOnNode> regions) {
    ChannelPlacement placement;
    if (nodes.size() < 2) return placement;
    std::map<int, CpuSet> usable;
    std::map<int, std::uint64_t> pages;
    for (const auto& [node, cpus] : nodes) {
        if (CpuSet both = common_cpus(cpus, allowed); !both.empty()) usable[node] = both;
    }
    for (const RegionOnNode& region : regions) {
        if (usable.contains(region.node)) pages[region.node] += region.pages;
    }
    std::uint64_t all = 0;
    for (const auto& [node, count] : pages) all += count;
    if (all == 0) return placement;
    std::map<int, unsigned> group_of_node;
    for (const auto& [node, count] : pages) {
        group_of_node[node] = static_cast<unsigned>(placement.shares_.size());
        placement.shares_.push_back(static_cast<double>(count) / static_cast<double>(all));
        placement.cpus_.push_back(usable[node]);
    }
    const auto largest =
        static_cast<unsigned>(std::max_element(placement.shares_.begin(), placement.shares_.end()) -
                              placement.shares_.begin());
    for (const RegionOnNode& region : regions) {
        const auto group = group_of_node.find(region.node);
        placement.region_groups_.push_back(group != group_of_node.end() ? group->second : largest);
    }
    return placement;
}

unsigned ChannelPlacement::group_of(std::size_t channel) const {
    if (shares_.size() < 2) return 0;
    // Each channel goes to the group that lacks most of its share.
    std::vector<double> taken(shares_.size(), 0);
    unsigned group = 0;
    for (std::size_t i = 0; i <= channel; ++i) {
        double most = -1;
        for (unsigned g = 0; g < shares_.size(); ++g) {
            const double lacks = shares_[g] * static_cast<double>(i + 1) - taken[g];
            if (lacks > most) {
                most = lacks;
                group = g;
            }
        }
        taken[group] += 1;
    }
    return group;
}

const CpuSet& ChannelPlacement::cpus_of(std::size_t channel) const {
    return cpus_.empty() ? anywhere_ : cpus_[group_of(channel)];
}

ChannelPlacement place_channels(const CpuConfig& config, const memory::PageSource& source) {
    if (!config.near_memory) return {};
    const NumaTopology nodes = read_numa_topology(config.topology);
    if (nodes.size() < 2) return {};
    std::vector<RegionOnNode> regions;
    for (std::size_t i = 0; i < source.regions().size(); ++i) {
        const RegionId region{static_cast<std::uint16_t>(i)};
        const int node = i < config.region_nodes.size() ? config.region_nodes[i]
                                                        : memory::numa_node_of(source, region);
        regions.push_back({node, source.regions()[i].pages()});
    }
    return ChannelPlacement::plan(nodes, config.cpus ? *config.cpus : cpus_of_this_thread(),
                                  regions);
}

}  // namespace migrate::engine
