// SPDX-License-Identifier: Apache-2.0
// Where the threads of one side run, and how much CPU time they may use.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/config/settings.hpp"
#include "base/cpu_set.hpp"
#include "base/error.hpp"
#include "base/numa_topology.hpp"

namespace migrate::engine {

struct CpuConfig {
    std::string affinity = "off";  // the option's text
    std::optional<CpuSet> cpus;    // all threads of the session run on these; empty: anywhere
    bool near_memory = false;      // the sender's channels run near the memory that they read
    unsigned budget_percent = 0;   // of the host's CPU time; 0: no limit
    // Set by tests only: the folder of the topology, and the node of each region instead of the
    // kernel's answer.
    std::string topology = kNumaFolder;
    std::vector<int> region_nodes;
};

// Reads the options cpu-affinity and cpu-budget of either side; kUsage names the one with an error.
Result<CpuConfig> make_cpu_config(const Settings& settings);

// kRefused if `cpus` has a CPU that this process may not use.
Status check_cpus(const CpuConfig& config);
// The CPUs' worth of time that this budget allows on this host; 0: no limit.
double cpus_allowed(unsigned budget_percent);
// Number of CPUs of this host that are online, at least 1.
unsigned host_cpus();

}  // namespace migrate::engine
