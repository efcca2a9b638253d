// SPDX-License-Identifier: Apache-2.0
#include "base/numa_topology.hpp"

#include <charconv>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace migrate {

NumaTopology read_numa_topology(const std::string& folder) {
    constexpr std::string_view kPrefix = "node";
    NumaTopology nodes;
    std::error_code error;
    for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
         entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        if (!name.starts_with(kPrefix)) continue;
        int node = 0;
        const char* const last = name.data() + name.size();
        const auto parsed = std::from_chars(name.data() + kPrefix.size(), last, node);
        if (parsed.ec != std::errc() || parsed.ptr != last || node < 0) continue;
        std::ifstream file(entry->path() / "cpulist");
        std::string text;
        // A node of memory alone has an empty list.
        if (!std::getline(file, text)) continue;
        if (Result<CpuSet> cpus = parse_cpu_list(text)) nodes[node] = *std::move(cpus);
    }
    return nodes;
}

}  // namespace migrate
