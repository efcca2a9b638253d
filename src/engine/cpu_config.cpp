// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu_config.hpp"

#include <unistd.h>

#include <algorithm>
#include <iterator>

namespace migrate::engine {

Result<CpuConfig> make_cpu_config(const Settings& settings) {
    CpuConfig config;
    config.affinity = settings.get<"cpu-affinity">();
    config.budget_percent = settings.get<"cpu-budget", unsigned>();
    config.near_memory = config.affinity != "off";
    if (config.affinity == "off" || config.affinity == "auto") return config;
    Result<CpuSet> cpus = parse_cpu_list(config.affinity);
    if (!cpus) {
        return std::move(cpus).error().with_context("option cpu-affinity").as(ErrorKind::kUsage);
    }
    config.cpus = *std::move(cpus);
    return config;
}

Status check_cpus(const CpuConfig& config) {
    if (!config.cpus) return {};
    const CpuSet usable = cpus_of_this_thread();
    CpuSet others;
    std::set_difference(config.cpus->begin(), config.cpus->end(), usable.begin(), usable.end(),
                        std::back_inserter(others));
    if (others.empty()) return {};
    return make_error(ErrorKind::kRefused,
                      "option cpu-affinity: this process may not use the CPUs {}; it may use {}",
                      cpu_list_text(others), cpu_list_text(usable));
}

unsigned host_cpus() {
    return static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
}

double cpus_allowed(unsigned budget_percent) { return host_cpus() * (budget_percent / 100.0); }

}  // namespace migrate::engine
