// Which work queue a page of the address space belongs to. What was found is kept; the hooks of
// mmap, munmap and mremap say when it is no longer so.
// Every function is async-signal-safe and waits for nothing.
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
    // The index in `catalog.nodes`; looks into /proc/self/maps for a page it does not know.
    std::optional<std::size_t> find(std::uint64_t address, const Catalog& catalog);
    void insert(std::uint64_t address, std::size_t node);
    // Nothing is known any more about [begin, begin + bytes).
    void forget(std::uint64_t begin, std::uint64_t bytes);

  private:
    // The page's address, and in its low bits the node's index plus 1. A page has one place.
    std::array<std::atomic<std::uint64_t>, 256> pages_{};
    std::atomic<bool> used_{false};
};

}  // namespace migrate::accel::softdsa::preload
