// SPDX-License-Identifier: Apache-2.0
#include "engine/send/channel_placement.hpp"

#include <filesystem>
#include <fstream>

#include "catch.hpp"
#include "engine/send/round_plan.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::engine {
namespace {

const NumaTopology kTwoNodes{{0, {0, 1, 2, 3}}, {1, {4, 5, 6, 7}}};
const CpuSet kEightCpus{0, 1, 2, 3, 4, 5, 6, 7};

TEST_CASE("channels are distributed to the nodes as their memory is, from the first one on") {
    const std::vector<RegionOnNode> regions{{0, 3000}, {1, 1000}};
    const auto placement = ChannelPlacement::plan(kTwoNodes, kEightCpus, regions);
    REQUIRE(placement.groups() == 2);
    std::array<int, 2> count{};
    for (std::size_t channel = 0; channel < 8; ++channel) {
        const unsigned group = placement.group_of(channel);
        ++count.at(group);
        CHECK(placement.cpus_of(channel) == kTwoNodes.at(static_cast<int>(group)));
    }
    CHECK(count == std::array<int, 2>{6, 2});
    CHECK(placement.group_of(0) == 0);
    const auto groups = placement.region_groups();
    CHECK(std::vector<unsigned>(groups.begin(), groups.end()) == std::vector<unsigned>{0, 1});
}

TEST_CASE("memory of one node keeps all channels there") {
    const std::vector<RegionOnNode> regions{{1, 3000}, {-1, 10}};
    const auto placement = ChannelPlacement::plan(kTwoNodes, kEightCpus, regions);
    CHECK(placement.groups() == 1);
    for (std::size_t channel = 0; channel < 4; ++channel) {
        CHECK(placement.group_of(channel) == 0);
        CHECK(placement.cpus_of(channel) == kTwoNodes.at(1));
    }
}

TEST_CASE("a list of CPUs limits the CPUs of each node, and leaves out a node without any") {
    const std::vector<RegionOnNode> regions{{0, 1000}, {1, 1000}};
    const auto both = ChannelPlacement::plan(kTwoNodes, {3, 4}, regions);
    CHECK(both.groups() == 2);
    CHECK(both.cpus_of(0) == CpuSet{3});
    CHECK(both.cpus_of(1) == CpuSet{4});
    const auto one = ChannelPlacement::plan(kTwoNodes, {4, 5}, regions);
    CHECK(one.groups() == 1);
    CHECK(one.cpus_of(0) == CpuSet{4, 5});
    CHECK(one.cpus_of(1) == CpuSet{4, 5});
}

TEST_CASE("one node, or memory of unknown nodes, places nothing") {
    const std::vector<RegionOnNode> known{{0, 1000}};
    const std::vector<RegionOnNode> unknown{{-1, 1000}, {-1, 5}};
    const std::vector<RegionOnNode> elsewhere{{7, 1000}};
    for (const auto& placement :
         {ChannelPlacement::plan({{0, {0, 1}}}, {0, 1}, known),
          ChannelPlacement::plan({}, {0, 1}, known),
          ChannelPlacement::plan(kTwoNodes, kEightCpus, unknown),
          ChannelPlacement::plan(kTwoNodes, kEightCpus, elsewhere), ChannelPlacement()}) {
        CHECK(placement.groups() == 1);
        CHECK(placement.cpus_of(3).empty());
        CHECK(placement.group_of(3) == 0);
        CHECK(placement.region_groups().empty());
    }
}

TEST_CASE("a source is placed by a topology and the node of each region") {
    const TemporaryFolder folder;
    for (const auto& [node, cpus] : {std::pair{"node0", "0"}, std::pair{"node1", "1"}}) {
        std::filesystem::create_directory(folder / node);
        std::ofstream(folder / node + "/cpulist") << cpus << '\n';
    }
    const auto source = must(memory::open_page_source("anon:4M,fill=random"));
    CpuConfig config;
    config.topology = folder / "";
    config.region_nodes = {1};
    CHECK(place_channels(config, *source).cpus_of(0).empty());
    config.near_memory = true;
    config.cpus = CpuSet{0, 1};
    CHECK(place_channels(config, *source).cpus_of(0) == CpuSet{1});
}

// All spans that a channel of this group gets, in their order, as pairs of region and first page.
std::vector<std::pair<unsigned, std::uint64_t>> claims(const RoundPlan& plan, unsigned group) {
    std::vector<std::pair<unsigned, std::uint64_t>> spans;
    while (const auto span = plan.claim(group)) {
        spans.emplace_back(index_of(span->region), span->pages.count);
    }
    return spans;
}

TEST_CASE("a divided plan gives a group its own regions first, and every page once") {
    const std::vector<RegionInfo> regions{
        {"a", 8 * kMiB}, {"b", 16 * kMiB}, {"c", 4 * kMiB}, {"d", 12 * kMiB}};
    const std::vector<unsigned> groups{0, 1, 1, 0};
    for (unsigned group = 0; group < 2; ++group) {
        RoundPlan plan = RoundPlan::all(regions, 2);
        plan.divide(groups, 2);
        CHECK(plan.pages() == 40 * kMiB / kPageSize);
        std::uint64_t pages = 0;
        bool others = false;
        std::map<unsigned, std::uint64_t> of_region;
        for (const auto& [region, count] : claims(plan, group)) {
            pages += count;
            of_region[region] += count;
            others = others || groups[region] != group;
            CHECK((groups[region] == group || others));
            if (others) CHECK(groups[region] != group);
        }
        CHECK(pages == plan.pages());
        for (unsigned i = 0; i < regions.size(); ++i) CHECK(of_region[i] == regions[i].pages());
        CHECK_FALSE(plan.claim(1 - group));
    }
}

}  // namespace
}  // namespace migrate::engine
