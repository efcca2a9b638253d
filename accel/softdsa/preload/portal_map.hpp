// SPDX-License-Identifier: Apache-2.0
// Finds the work queue to which a page of the address space belongs. Results are cached; the hooks
// of mmap, munmap and mremap invalidate them. Every function is async-signal-safe and never waits.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "accel/softdsa/preload/catalog.hpp"

namespace migrate::accel::softdsa::preload {

class PortalMap {
  public:
    // Returns the index in `catalog.nodes`; reads /proc/self/maps for a page that is not cached.
    std::optional<std::size_t> find(std::uint64_t address, const Catalog& catalog);
    void insert(std::uint64_t address, std::size_t node);
    // Drops all cached results for [begin, begin + bytes).
    void forget(std::uint64_t begin, std::uint64_t bytes);

  private:
    // The page's address, with the node's index plus 1 in its low bits. Each page has one slot.
    std::array<std::atomic<std::uint64_t>, 256> pages_{};
    std::atomic<bool> used_{false};
};

}  // namespace migrate::accel::softdsa::preload
