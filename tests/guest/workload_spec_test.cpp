// SPDX-License-Identifier: Apache-2.0
#include "guest/workload_spec.hpp"

#include "base/config/option_lookup.hpp"
#include "catch.hpp"
#include "tests/support/must.hpp"

namespace migrate::guest {
namespace {

Result<WorkloadOptions> parse_workload(const std::string& uri) {
    MIGRATE_ASSIGN(const ParsedForm parsed, parse_form_of<"source">(uri));
    return workload_options(uri, parsed);
}

TEST_CASE("the words of a workload are understood in any order") {
    const WorkloadOptions options = must(parse_workload(
        "workload:2G,threads=2,rate=100,pattern=hot-spot,working-set=1G,seed=18446744073709551615,"
        "warm-up=2s,memory=memfd,huge=on,fill=all"));
    const WorkloadSpec& spec = options.spec;
    CHECK(spec.size_bytes == 2 * kGiB);
    CHECK(spec.working_set_bytes == kGiB);
    CHECK(spec.rate_mib_s == 100);
    CHECK(spec.pattern == Pattern::kHotSpot);
    CHECK(spec.fill == Fill::kAll);
    CHECK(spec.threads == 2);
    CHECK(spec.seed == UINT64_MAX);
    CHECK(options.memory == memory::MemoryKind::kMemfd);
    CHECK(options.huge == memory::HugePages::kOn);
    CHECK(options.warm_up_ms == 2000);
}

TEST_CASE("a workload of which only the size is given has the documented defaults") {
    const WorkloadOptions options = must(parse_workload("workload:4K"));
    CHECK(options.spec.working_set_bytes == 4096);
    CHECK(options.spec.rate_mib_s == 200);
    CHECK(options.spec.pattern == Pattern::kUniform);
    CHECK(options.spec.fill == Fill::kWorkingSet);
    CHECK(options.spec.threads == 1);
    CHECK(options.spec.seed == 1);
    CHECK(options.memory == memory::MemoryKind::kAnon);
    CHECK(options.huge == memory::HugePages::kOff);
    CHECK(options.warm_up_ms == 500);
}

TEST_CASE("bad words of a workload are usage errors that name the word and what is allowed") {
    struct Bad {
        const char* words;
        const char* named;
        const char* allowed;
    };
    for (const Bad& bad :
         {Bad{"", "SIZE is missing", "workload:SIZE"},
          Bad{"many", "many", ""},
          Bad{"0", "0 is out of range", "4K or more"},
          Bad{"4097", "4097 is not", "multiple of 4K"},
          Bad{"4M,speed=1", "'speed'", "rate, pattern, working-set"},
          Bad{"4M,rate", "rate needs a value", "rate=N"},
          Bad{"4M,rate=fast", "fast", ""},
          Bad{"4M,rate=102401", "rate: 102401", "0 … 102400"},
          Bad{"4M,pattern=random", "pattern: ", "sequential, uniform or hot-spot, not 'random'"},
          Bad{"4M,working-set=8M", "working-set=8388608", "at most the size, 4194304"},
          Bad{"4M,working-set=0", "working-set: 0", "4K or more"},
          Bad{"4M,working-set=5000", "working-set: 5000", "multiple of 4K"},
          Bad{"4M,working-set=8K,threads=3", "3 threads", "at least 12288 bytes"},
          Bad{"4M,threads=0", "threads: 0", "1 … 64"},
          Bad{"4M,threads=65", "threads: 65", "1 … 64"},
          Bad{"4M,seed=-1", "-1", ""},
          Bad{"4M,memory=ram", "memory: ", "anon, memfd or hugetlb"},
          Bad{"4M,huge=1", "huge: ", "on or off"},
          Bad{"4M,fill=zero", "fill: ", "working-set, all or none"},
          Bad{"4M,warm-up=2h", "warm-up: 2h", "0 … 1h"},
          Bad{"4M,memory=hugetlb,huge=on", "huge=on", "memory=anon or memory=memfd"},
          Bad{"4100K,memory=hugetlb", "4198400", "2097152"}}) {
        const std::string uri = std::string("workload:") + bad.words;
        const auto options = parse_workload(uri);
        INFO(uri);
        CHECK_THAT(message_of(options), Catch::Contains(bad.named) && Catch::Contains(bad.allowed));
        CHECK_THAT(message_of(options),
                   Catch::StartsWith(fmt::format("option source: '{}': ", uri)));
        CHECK(options.error().kind() == ErrorKind::kUsage);
    }
}

}  // namespace
}  // namespace migrate::guest
