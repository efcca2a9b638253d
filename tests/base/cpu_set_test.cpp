// SPDX-License-Identifier: Apache-2.0
#include "base/cpu_set.hpp"

#include <fstream>
#include <thread>

#include "base/numa_topology.hpp"
#include "base/own_cpu_time.hpp"
#include "catch.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate {
namespace {

TEST_CASE("a CPU list is read in the kernel's form, and written in its shortest one") {
    CHECK(must(parse_cpu_list("0")) == CpuSet{0});
    CHECK(must(parse_cpu_list("8,0-3,2")) == CpuSet{0, 1, 2, 3, 8});
    CHECK(cpu_list_text({0, 1, 2, 3, 8}) == "0-3,8");
    CHECK(cpu_list_text({1, 2}) == "1-2");
    CHECK(cpu_list_text({}).empty());
    CHECK(must(parse_cpu_list("65535")) == CpuSet{65535});
}

TEST_CASE("a CPU list with an error is refused, and the item is named") {
    for (const char* text : {"", ",", "0,", "3-1", "-1", "1-", "a", "0 1", "0-3-5", "65536", "0x1",
                             "99999999999999999999", "+1"}) {
        INFO(text);
        const auto parsed = parse_cpu_list(text);
        REQUIRE_FALSE(parsed);
        CHECK_THAT(parsed.error().message(), Catch::Matchers::Contains("is not a CPU"));
    }
    CHECK(parse_cpu_list("0,7-5").error().message() ==
          "'7-5' is not a CPU or a range of CPUs; use a list like 0-3,8");
}

TEST_CASE("a thread and those it starts run on the given CPUs until the placement ends") {
    const CpuSet all = cpus_of_this_thread();
    REQUIRE_FALSE(all.empty());
    const CpuSet last{all.back()};
    {
        const OnCpus placed(last);
        CHECK(cpus_of_this_thread() == last);
        CpuSet inherited;
        CpuSet of_guest;
        std::thread([&] {
            inherited = cpus_of_this_thread();
            // A guest's thread has all CPUs, whoever starts it.
            const GuestThread guest;
            of_guest = cpus_of_this_thread();
        }).join();
        CHECK(inherited == last);
        CHECK(of_guest == all);
    }
    CHECK(cpus_of_this_thread() == all);
    const OnCpus nowhere(std::nullopt);
    CHECK(cpus_of_this_thread() == all);
}

TEST_CASE("CPUs that this process may not use are an error, and change nothing") {
    const CpuSet all = cpus_of_this_thread();
    const Status placed = run_on({kMaxCpu});
    REQUIRE_FALSE(placed);
    CHECK(placed.error().message() == "this process may use none of the CPUs 65535");
    CHECK(cpus_of_this_thread() == all);
}

TEST_CASE("the NUMA topology is read from the kernel's folder, without nodes that have no CPU") {
    const TemporaryFolder folder;
    const auto add = [&](const std::string& node, const std::string& cpus) {
        std::filesystem::create_directory(folder / node);
        std::ofstream(folder / node + "/cpulist") << cpus << '\n';
    };
    add("node0", "0-3");
    add("node1", "4-7");
    add("node2", "");  // memory alone
    add("nodes", "9");
    add("possible", "9");
    const NumaTopology nodes = read_numa_topology(folder / "");
    CHECK(nodes == NumaTopology{{0, {0, 1, 2, 3}}, {1, {4, 5, 6, 7}}});
    CHECK(read_numa_topology(folder / "none").empty());
}

// Uses CPU time on the calling thread.
void use_cpu(std::chrono::milliseconds time) {
    const auto now = [] {
        timespec used{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
        return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
    };
    const auto end = now() + time;
    while (now() < end) {
    }
}

TEST_CASE("a guest's threads are not part of the process's own CPU time, running or ended") {
    using std::chrono::milliseconds;
    const auto before = own_cpu_time();
    std::thread([] {
        use_cpu(milliseconds(20));  // not yet a guest
        const GuestThread guest;
        use_cpu(milliseconds(300));
        const auto at_work = own_cpu_time();
        use_cpu(milliseconds(100));
        CHECK(own_cpu_time() - at_work < milliseconds(50));
    }).join();
    const auto used = own_cpu_time() - before;
    CHECK(used >= milliseconds(20));
    CHECK(used < milliseconds(150));
}

}  // namespace
}  // namespace migrate
