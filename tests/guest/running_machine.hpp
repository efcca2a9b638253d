// SPDX-License-Identifier: Apache-2.0
// A workload for a test, and what tests do to its memory.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "guest/guest.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/digest.hpp"
#include "tests/support/must.hpp"

namespace migrate::guest {

// The guest writes this memory itself; tests write it while it is paused.
inline std::span<std::byte> memory_of(const Machine& machine) {
    const auto memory = machine.memory->memory(RegionId{0});
    return {const_cast<std::byte*>(memory.data()), memory.size()};
}

inline std::span<std::byte> page_of(std::span<std::byte> memory, std::uint64_t page) {
    return memory.subspan(page * kPageSize, kPageSize);
}

// Waits until the guest has written so many pages more, however long that takes here.
inline void let_it_write(const Guest& guest, std::uint64_t pages) {
    const std::uint64_t enough = guest.activity().bytes_written + pages * kPageSize;
    while (guest.activity().bytes_written < enough) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

// The memory of another host.
class Copy {
  public:
    explicit Copy(std::span<const std::byte> memory)
        : mapping_(
              must(memory::map_anonymous(memory.size(), memory::HugePages::kOff, "the copy"))) {
        std::copy(memory.begin(), memory.end(), mapping_.data());
    }
    std::span<std::byte> bytes() const { return mapping_.bytes(); }

  private:
    Mapping mapping_;
};

inline std::string digest_of(std::span<const std::byte> memory) {
    return memory::digest_pages(memory, {0, memory.size() / kPageSize}).hex();
}

}  // namespace migrate::guest
