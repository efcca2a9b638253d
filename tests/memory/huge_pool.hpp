// Huge pages and a hugetlbfs, for the tests that need them.
#pragma once

#include <cstdint>
#include <fstream>

#include "catch.hpp"
#include "tests/memory/temporary_folder.hpp"

namespace migrate::memory {

// Huge pages for a test and a hugetlbfs to hold them; the pool has its old size again afterwards.
class HugePool {
  public:
    explicit HugePool(std::uint64_t pages)
        : before_(number(kSize)), mount_("hugetlbfs", "pagesize=2M") {
        std::ofstream(kSize) << before_ + pages;
        ready_ = mount_ && number(kSize) >= before_ + pages;
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
    static std::uint64_t free_pages() {
        return number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    }

  private:
    static constexpr const char* kSize = "/proc/sys/vm/nr_hugepages";
    static std::uint64_t number(const char* path) {
        std::uint64_t value = 0;
        std::ifstream(path) >> value;
        return value;
    }

    std::uint64_t before_;
    TemporaryMount mount_;
    bool ready_ = false;
};

}  // namespace migrate::memory
