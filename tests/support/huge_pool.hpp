// SPDX-License-Identifier: Apache-2.0
// Huge pages and a hugetlbfs, for the tests that need them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>

#include "catch.hpp"
#include "tests/support/temporary_folder.hpp"

namespace migrate::memory {

// Huge pages for a test and a hugetlbfs to hold them; the pool has its old size again afterwards.
class HugePool {
  public:
    explicit HugePool(std::uint64_t pages)
        : before_(number(kSize)), mount_("hugetlbfs", "pagesize=2M") {
        // Pages that somebody holds count, also those beyond the pool's size, which a killed test
        // may have left: a larger pool takes them in first.
        const std::uint64_t held = number(kFolder + "nr_hugepages") - free_pages();
        std::ofstream(kSize) << std::max(before_, held) + pages;
        ready_ = mount_ && free_pages() >= pages;
    }
    HugePool(const HugePool&) = delete;
    HugePool& operator=(const HugePool&) = delete;
    ~HugePool() { std::ofstream(kSize) << before_; }

    explicit operator bool() const {
        if (!ready_)
            WARN("skipped: no huge pages here (root, and 2 MiB pages to spare, are needed)");
        return ready_;
    }
    const TemporaryFolder& folder() const { return mount_.folder(); }
    // Huge pages nobody holds.
    static std::uint64_t free_pages() { return number(kFolder + "free_hugepages"); }

  private:
    static constexpr const char* kSize = "/proc/sys/vm/nr_hugepages";
    static inline const std::string kFolder = "/sys/kernel/mm/hugepages/hugepages-2048kB/";
    static std::uint64_t number(const std::string& path) {
        std::uint64_t value = 0;
        std::ifstream(path) >> value;
        return value;
    }

    std::uint64_t before_;
    TemporaryMount mount_;
    bool ready_ = false;
};

}  // namespace migrate::memory
