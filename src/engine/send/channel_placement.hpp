// SPDX-License-Identifier: Apache-2.0
// Distributes the channels of the sender to the NUMA nodes whose memory they read. A group is the
// channels of one node; they prefer the regions whose memory is there. Invariant: any number of
// channels, from the first on, is distributed as the memory is, as well as whole channels can be.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/cpu_set.hpp"
#include "base/numa_topology.hpp"
#include "engine/cpu_config.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::engine {

struct RegionOnNode {
    int node = -1;  // -1: not known
    std::uint64_t pages = 0;
};

class ChannelPlacement {
  public:
    // One group, whose channels run anywhere.
    ChannelPlacement() = default;
    // `allowed`: the CPUs that this process may use. A node without such a CPU gets no channels.
    // There is one group if fewer than two nodes are left.
    static ChannelPlacement plan(const NumaTopology& nodes, const CpuSet& allowed,
                                 std::span<const RegionOnNode> regions);

    unsigned groups() const { return shares_.empty() ? 1 : static_cast<unsigned>(shares_.size()); }
    // Group of a channel.
    unsigned group_of(std::size_t channel) const;
    // For each region the group whose channels prefer it; empty if there is one group.
    std::span<const unsigned> region_groups() const { return region_groups_; }
    // The CPUs of a channel; empty: any.
    const CpuSet& cpus_of(std::size_t channel) const;

  private:
    std::vector<double> shares_;  // of the memory, by group; empty: one group
    std::vector<CpuSet> cpus_;    // by group
    std::vector<unsigned> region_groups_;
    CpuSet anywhere_;
};

// The placement for a source, as the configuration wants it.
ChannelPlacement place_channels(const CpuConfig& config, const memory::PageSource& source);

}  // namespace migrate::engine
