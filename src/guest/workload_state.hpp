// SPDX-License-Identifier: Apache-2.0
// The state that the workload needs to continue elsewhere, and its wire form. Invariant: a decoded
// state is within the limits of its spec; load_guest() and check_memory() compare what it says
// about memory with the memory that arrived.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "guest/workload_spec.hpp"

namespace migrate::guest {

// Limit for one vCPU. 2^45 writes take a year at a million a second, and their bytes over 64 vCPUs
// still fit into 64 bits.
inline constexpr std::uint64_t kMaxWrites = std::uint64_t{1} << 45U;
// 31 years in microseconds; the limit of every duration in a state.
inline constexpr std::uint64_t kMaxStateUs = 1'000'000'000'000'000;

struct VcpuState {
    std::uint64_t writes = 0;         // at most kMaxWrites
    std::uint64_t last_write_us = 0;  // CLOCK_REALTIME; has no meaning if writes is 0
    friend bool operator==(const VcpuState&, const VcpuState&) = default;
};

struct WorkloadState {
    WorkloadSpec spec;
    std::uint64_t run_time_us = 0;
    std::uint64_t longest_gap_us = 0;
    std::vector<VcpuState> vcpus;  // spec.threads elements
    friend bool operator==(const WorkloadState&, const WorkloadState&) = default;
};

// The state of a guest that never ran.
WorkloadState initial_state(const WorkloadSpec& spec);

// Little-endian: "MWLD", u16 version, u8 pattern, u8 fill, u64 threads, size, working set, rate,
// seed, run time, longest gap; then u64 writes and last write for each vCPU.
std::string encode_state(const WorkloadState& state);
// Accepts any bytes; kProtocol says what is wrong with them.
Result<WorkloadState> decode_state(std::string_view bytes);

}  // namespace migrate::guest
