// SPDX-License-Identifier: Apache-2.0
#include "cli/probe.hpp"

#include <nlohmann/json.hpp>

#include "accel/zero_kernel.hpp"
#include "cli_test_support.hpp"

using namespace migrate;
using namespace migrate::cli;
using namespace migrate::cli::test;

TEST_CASE("probe names every tracker and kernel, with a reason each") {
    const auto groups = probe_host();
    REQUIRE(groups.size() == 5);
    CHECK(groups[0].key == "dirty-trackers");
    CHECK(groups[0].items.size() == 3);
    CHECK(groups[0].items.back().usable);
    CHECK(groups[1].key == "zero-kernels");
    CHECK(groups[1].items.size() == accel::all_zero_kernels().size());
    CHECK(groups[1].items.back().name == "scalar");
    CHECK(groups[1].items.back().usable);
    CHECK(groups[2].key == "dsa");
    CHECK(groups[2].items.back().name == "softdsa:N");
    CHECK(groups[3].key == "processes");
    CHECK(groups[3].items.back().name == "ptrace");
    CHECK(groups[4].key == "placement");
    CHECK(groups[4].items.size() == 4);
    for (const ProbedGroup& group : groups) {
        for (const ProbedItem& item : group.items) CHECK_FALSE(item.detail.empty());
    }
}

TEST_CASE("probe's text has a line an item, in columns") {
    const std::vector<ProbedGroup> groups{
        {"first", "First", {{"a", true, "works"}, {"longer", false, "lacks it"}}},
        {"second", "Second", {{"b", true, "works too"}}}};
    CHECK(probe_text(groups) ==
          "First:\n"
          "  a       yes  works\n"
          "  longer  no   lacks it\n"
          "\n"
          "Second:\n"
          "  b  yes  works too\n");
}

TEST_CASE("probe's JSON has a list a group, whatever bytes a reason holds") {
    const std::vector<ProbedGroup> groups{{"first", "First", {{"a", false, "a \"b\" \xff"}}}};
    const std::string text = probe_json(groups);
    CHECK(text.ends_with("\n"));
    const auto json = nlohmann::json::parse(text);
    REQUIRE(json.at("first").size() == 1);
    CHECK(json["first"][0].at("name") == "a");
    CHECK(json["first"][0].at("usable") == false);
    CHECK(json["first"][0].at("detail").get<std::string>().starts_with("a \"b\""));
}

TEST_CASE("the program prints what probe finds") {
    const auto text = run_shell(std::string(MIGRATE_BINARY) + " probe");
    CHECK(text.exit_code == 0);
    CHECK(text.output == probe_text(probe_host()));
    const auto json = run_shell(std::string(MIGRATE_BINARY) + " probe --json");
    CHECK(json.exit_code == 0);
    CHECK(json.output == probe_json(probe_host()));
}
