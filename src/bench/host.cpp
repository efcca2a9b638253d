// SPDX-License-Identifier: Apache-2.0
#include "bench/host.hpp"

#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "base/commit.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"
#include "base/version.hpp"

namespace migrate::bench {
namespace {

namespace fs = std::filesystem;

std::string content_of(const std::string& path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

// The rest of the line that begins with `key`, without colon and blanks.
std::string line_of(const std::string& text, std::string_view key) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with(key)) continue;
        const std::size_t value = line.find_first_not_of(": \t", key.size());
        return value == std::string::npos ? "" : line.substr(value);
    }
    return "";
}

std::uint64_t memory_line(std::string_view key) {
    return std::strtoull(line_of(content_of("/proc/meminfo"), key).c_str(), nullptr, 10) * kKiB;
}

// The choice in brackets: "always [madvise] never".
std::string chosen(const std::string& path) {
    const std::string text = content_of(path);
    const std::size_t open = text.find('[');
    const std::size_t close = text.find(']');
    if (open == std::string::npos || close == std::string::npos) return "unknown";
    return text.substr(open + 1, close - open - 1);
}

}  // namespace

Json describe_host() {
    utsname name{};
    ::uname(&name);
    double load = 0;
    ::getloadavg(&load, 1);
    const std::string cpuinfo = content_of("/proc/cpuinfo");
    const std::string huge = "/sys/kernel/mm/transparent_hugepage/";
    return {{"cpu", line_of(cpuinfo, "model name")},
            {"cpus", std::thread::hardware_concurrency()},
            {"virtual", line_of(cpuinfo, "flags").find("hypervisor") != std::string::npos},
            {"memory", memory_line("MemTotal")},
            {"available-memory", memory_line("MemAvailable")},
            {"kernel", std::string(name.release)},
            {"transparent-hugepage", chosen(huge + "enabled")},
            {"shmem-hugepage", chosen(huge + "shmem_enabled")},
            {"dsa", has_dsa_queue()},
            {"load", load},
            {"version", std::string(kVersion)},
            {"commit", std::string(kCommit)},
            {"build", std::string(kBuildType)}};
}

std::uint64_t available_memory() { return memory_line("MemAvailable"); }

Status warm_memory(std::uint64_t bytes) {
    if (bytes == 0) return {};
    // The processes need this beside the guest.
    constexpr std::uint64_t kBeside = 512 * kMiB;
    bytes = std::min(bytes + kBeside, available_memory() / 5 * 4) / kHugePageSize * kHugePageSize;
    if (bytes == 0) return {};
    MIGRATE_ASSIGN(const Mapping mapping,
                   Mapping::create({.size = bytes,
                                    .protection = PROT_READ | PROT_WRITE,
                                    .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                    .fd = -1,
                                    .alignment = kHugePageSize,
                                    .what = "memory to warm it"}));
    // Huge pages free whole blocks. A receiver with huge pages takes these blocks, and the kernel
    // splits them for small pages. Pages freed one by one would come behind blocks that are cold.
    (void)::madvise(mapping.data(), bytes, MADV_HUGEPAGE);
    if (::madvise(mapping.data(), bytes, MADV_POPULATE_WRITE) != 0 && errno != EINVAL)
        return Error::system("warm memory", errno);
    return {};
}

bool has_dsa_queue() {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator("/dev/dsa", none)) {
        if (::access(entry.path().c_str(), R_OK | W_OK) == 0) return true;
    }
    return false;
}

}  // namespace migrate::bench
