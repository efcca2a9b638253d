// What the workload must know to go on elsewhere, and its form on the wire. Invariant: a state that
// was decoded is within the limits of its spec; what it says of memory is for load_guest() and
// check_memory() to hold against the memory that is there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "guest/workload_spec.hpp"

namespace migrate::guest {

// Of one vCPU; 2^45 writes are a year at a million a second, and their bytes, over 64 vCPUs, still
// a 64-bit number.
inline constexpr std::uint64_t kMaxWrites = std::uint64_t{1} << 45U;
// 31 years; of every duration in a state.
inline constexpr std::uint64_t kMaxStateUs = 1'000'000'000'000'000;

struct VcpuState {
    std::uint64_t writes = 0;         // at most kMaxWrites
    std::uint64_t last_write_us = 0;  // CLOCK_REALTIME; of no account if there were none
    friend bool operator==(const VcpuState&, const VcpuState&) = default;
};

struct WorkloadState {
    WorkloadSpec spec;
    std::uint64_t run_time_us = 0;
    std::uint64_t longest_gap_us = 0;
    std::vector<VcpuState> vcpus;  // spec.threads of them
    friend bool operator==(const WorkloadState&, const WorkloadState&) = default;
};

// The state of a guest that never ran.
WorkloadState initial_state(const WorkloadSpec& spec);

// Little-endian: "MWLD", u16 version, u8 pattern, u8 fill, u64 threads, size, working set, rate,
// seed, run time, longest gap; then u64 writes and last write for each vCPU.
std::string encode_state(const WorkloadState& state);
// Of any bytes whatever; kProtocol says what is wrong with them.
Result<WorkloadState> decode_state(std::string_view bytes);

}  // namespace migrate::guest
