// What the built-in guest is and does: the words of
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
#include "memory/mapped_source.hpp"

namespace migrate::guest {

// Where a vCPU writes next. The values are those of the saved state.
enum class Pattern : std::uint8_t {
    kSequential = 0,  // page after page, round and round
    kUniform = 1,     // any page
    kHotSpot = 2,     // 90 % of the writes go to the first 10 % of the working set
};

// Which pages have content before the first write. The values are those of the saved state.
enum class Fill : std::uint8_t { kWorkingSet = 0, kAll = 1, kNone = 2 };

inline constexpr unsigned kMaxThreads = 64;
inline constexpr std::uint64_t kMaxRateMibS = 102400;
inline constexpr std::uint64_t kMaxWarmUpMs = 3'600'000;

// The guest on whichever host. Of the working set, which is the first pages of memory, vCPU t
// writes the pages p with p % threads = t.
struct WorkloadSpec {
    std::uint64_t size_bytes = 0;         // of the one region
    std::uint64_t working_set_bytes = 0;  // at least a page a thread, at most size_bytes
    std::uint64_t rate_mib_s = 200;       // of all threads; 0: as fast as they can
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

// What holds on the host where it starts, and does not travel.
struct WorkloadOptions {
    WorkloadSpec spec;
    memory::MemoryKind memory = memory::MemoryKind::kAnon;
    memory::HugePages huge = memory::HugePages::kOff;
    std::uint64_t warm_up_ms = 500;  // it runs so long before anybody may migrate it
};

// kUsage, naming what is wrong and what is allowed.
Status check_limits(const WorkloadSpec& spec);
// `words`: all behind "workload:"; `uri` is for messages. kUsage for bad words.
Result<WorkloadOptions> parse_workload(std::string_view uri, std::string_view words);

}  // namespace migrate::guest
