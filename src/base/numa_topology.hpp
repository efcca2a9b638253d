// SPDX-License-Identifier: Apache-2.0
// The NUMA nodes of this host and their CPUs.
#pragma once

#include <map>
#include <string>

#include "base/cpu_set.hpp"

namespace migrate {

inline constexpr const char* kNumaFolder = "/sys/devices/system/node";

// CPUs of each node that has any, by the node's number. Empty if the kernel does not tell.
using NumaTopology = std::map<int, CpuSet>;

// Reads nodeN/cpulist in `folder`.
NumaTopology read_numa_topology(const std::string& folder = kNumaFolder);

}  // namespace migrate
