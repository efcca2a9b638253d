// Describes the built-in guest, which the user specifies as
//   workload:SIZE[,rate=MIB][,pattern=sequential|uniform|hot-spot][,working-set=SIZE][,threads=N]
//     [,seed=N][,memory=anon|memfd|hugetlb][,huge=on|off][,fill=working-set|all|none]
//     [,warm-up=TIME]
// Invariant: a spec that was accepted, from the user or from a peer, is within the limits below.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.hpp"
#include "base/units.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/source/mapped_source.hpp"

namespace migrate::guest {

// Selects the page that a vCPU writes next. The values are part of the saved state.
enum class Pattern : std::uint8_t {
    kSequential = 0,  // page after page, round and round
    kUniform = 1,     // any page
    kHotSpot = 2,     // 90 % of the writes go to the first 10 % of the working set
};

// Selects the pages that have content before the first write. The values are part of the saved
// state.
enum class Fill : std::uint8_t { kWorkingSet = 0, kAll = 1, kNone = 2 };

inline constexpr unsigned kMaxThreads = 64;
inline constexpr std::uint64_t kMaxRateMibS = 102400;
inline constexpr std::uint64_t kMaxWarmUpMs = 3'600'000;

// Properties of the guest that are the same on every host. The working set is the first pages of
// memory; vCPU t writes its pages p with p % threads = t.
struct WorkloadSpec {
    std::uint64_t size_bytes = 0;         // size of the only region
    std::uint64_t working_set_bytes = 0;  // at least one page per thread, at most size_bytes
    std::uint64_t rate_mib_s = 200;       // sum over all threads; 0: no limit
    Pattern pattern = Pattern::kUniform;
    Fill fill = Fill::kWorkingSet;
    unsigned threads = 1;  // 1 … kMaxThreads
    std::uint64_t seed = 1;

    std::uint64_t pages() const { return size_bytes / kPageSize; }
    std::uint64_t working_set_pages() const { return working_set_bytes / kPageSize; }
    // The pages [0, filled_pages()) have content before the first write.
    std::uint64_t filled_pages() const {
        if (fill == Fill::kNone) return 0;
        return fill == Fill::kAll ? pages() : working_set_pages();
    }
    friend bool operator==(const WorkloadSpec&, const WorkloadSpec&) = default;
};

// Properties that hold only on the host where the guest starts; they are not sent.
struct WorkloadOptions {
    WorkloadSpec spec;
    memory::MemoryKind memory = memory::MemoryKind::kAnon;
    memory::HugePages huge = memory::HugePages::kOff;
    std::uint64_t warm_up_ms = 500;  // time that the guest runs before a migration may begin
};

// kUsage, which names the wrong value and the allowed values.
Status check_limits(const WorkloadSpec& spec);
// `words` is everything after "workload:"; `uri` is for messages. kUsage for bad words.
Result<WorkloadOptions> parse_workload(std::string_view uri, std::string_view words);

}  // namespace migrate::guest
