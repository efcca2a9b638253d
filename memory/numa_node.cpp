// SPDX-License-Identifier: Apache-2.0
#include "memory/numa_node.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <vector>

#include "base/raw_syscall.hpp"
#include "base/units.hpp"

namespace migrate::memory {

namespace {

constexpr std::uint64_t kSamplesPerRegion = 64;

void add_samples(const PageSource& source, RegionId region, std::vector<void*>& pages) {
    // Empty for memory that is not mapped here: its node does not matter to a copy of it.
    const auto memory = source.memory(region);
    const std::uint64_t count = memory.size() / kPageSize;
    const std::uint64_t step = std::max<std::uint64_t>(count / kSamplesPerRegion, 1);
    for (std::uint64_t page = 0; page < count; page += step) {
        pages.push_back(const_cast<std::byte*>(memory.data() + page * kPageSize));
    }
}

// The node that holds most of these pages; -1 if none is known.
int node_of_most(std::vector<void*>& pages) {
    // Without target nodes move_pages(2) moves nothing; it reports each page's node, or -ENOENT.
    std::vector<int> nodes(pages.size(), -1);
    if (raw_syscall(SYS_move_pages, 0, pages.size(), pages.data(), nullptr, nodes.data(), 0) != 0)
        return -1;
    std::map<int, std::size_t> count_of;
    for (const int node : nodes) {
        if (node >= 0) ++count_of[node];
    }
    const auto most = std::ranges::max_element(
        count_of, {}, [](const auto& node_and_count) { return node_and_count.second; });
    return most == count_of.end() ? -1 : most->first;
}

}  // namespace

int numa_node_of(const PageSource& source) {
    std::vector<void*> pages;
    for (std::size_t i = 0; i < source.regions().size(); ++i) {
        add_samples(source, RegionId{static_cast<std::uint16_t>(i)}, pages);
    }
    return node_of_most(pages);
}

int numa_node_of(const PageSource& source, RegionId region) {
    std::vector<void*> pages;
    add_samples(source, region, pages);
    return node_of_most(pages);
}

}  // namespace migrate::memory
