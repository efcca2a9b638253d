// SPDX-License-Identifier: Apache-2.0
#include "memory/anon_mapping.hpp"

#include <sys/mman.h>

#include <fstream>
#include <string>

#include "base/units.hpp"

namespace migrate::memory {
namespace {

// The word in brackets is the active setting (Documentation/admin-guide/mm/transhuge.rst).
bool setting_permits(const char* path) {
    std::ifstream file(path);
    std::string line;
    if (!std::getline(file, line)) return false;
    return line.find("[never]") == std::string::npos && line.find("[deny]") == std::string::npos;
}

}  // namespace

Result<Mapping> map_anonymous(std::uint64_t size_bytes, HugePages huge, std::string_view what) {
    MIGRATE_ASSIGN(Mapping mapping,
                   Mapping::create({.size = size_bytes,
                                    .protection = PROT_READ | PROT_WRITE,
                                    .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                    .alignment = kHugePageSize,
                                    .what = fmt::format("{} bytes for {}", size_bytes, what)}));
    // A kernel without transparent huge pages refuses both advices and uses 4 KiB pages anyway.
    static_cast<void>(::madvise(mapping.data(), mapping.size(),
                                huge == HugePages::kOn ? MADV_HUGEPAGE : MADV_NOHUGEPAGE));
    return mapping;
}

bool anonymous_huge_pages_allowed() {
    return setting_permits("/sys/kernel/mm/transparent_hugepage/enabled");
}

bool shared_huge_pages_allowed() {
    return setting_permits("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
}

Status check_fits_available_memory(std::uint64_t bytes, std::string_view what) {
    std::ifstream meminfo("/proc/meminfo");
    std::string key;
    std::uint64_t kib = 0;
    std::string unit;
    while (meminfo >> key >> kib) {
        std::getline(meminfo, unit);
        if (key != "MemAvailable:") continue;
        if (bytes <= kib * kKiB) return {};
        return make_error(
            "{}: its {} MiB are to be written and do not fit the {} MiB of memory available", what,
            bytes / kMiB, kib / kKiB);
    }
    return make_error(
        "{}: whether its {} MiB fit the memory available cannot be told: /proc/meminfo has no line "
        "MemAvailable",
        what, bytes / kMiB);
}

}  // namespace migrate::memory
