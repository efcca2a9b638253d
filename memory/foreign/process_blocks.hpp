// SPDX-License-Identifier: Apache-2.0
// The memory blocks of another process, as the regions of a source or a sink: a block in a shared
// file is mapped here by the source or sink itself, and private memory of the process is accessed
// by system calls.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"
#include "memory/foreign/process_memory.hpp"
#include "memory/foreign/process_population.hpp"
#include "memory/source/shared_source.hpp"

namespace migrate::memory {

// How private memory is made, which decides how its untouched pages are found.
enum class PrivateKind {
    kAnonymous,  // 4 KiB or transparent huge pages
    kHugetlb,    // huge pages of the host's pool
    kMixed,      // several kinds: no page is called untouched
};

struct MemoryBlock {
    std::string name;
    std::uint64_t size_bytes = 0;
    std::uint64_t address = 0;  // in the process
    // The file that holds it from its first byte on; nothing for private memory.
    std::optional<SharedRegion> file{};
    PrivateKind kind = PrivateKind::kAnonymous;
    // The files that private memory shows where the process has not written. Its untouched pages
    // are zeros only as long as these files have no content.
    std::vector<UniqueFd> shown{};
};

class ProcessBlocks {
  public:
    static Result<ProcessBlocks> create(ProcessMemory process);

    const ProcessMemory& process() const { return process_; }

    // Adds the block as the next region, and takes its files. Returns the one that holds it, if
    // there is one, which the caller maps as the next region of its files.
    std::optional<SharedRegion> add(MemoryBlock& block);
    // The block's region of the caller's files; nothing for private memory.
    std::optional<RegionId> mapped(RegionId region) const { return at(region).mapped; }

    // Only for private memory. Thread-safe.
    Status read(RegionId region, PageRange range, std::span<std::byte> to) const;
    Status write(RegionId region, PageRange range, std::span<const std::byte> content) const;
    // Appends the extents of the range. An Error as of ProcessPopulation::query().
    Status population(RegionId region, PageRange range,
                      std::vector<PopulationExtent>& extents) const;

  private:
    struct Block {
        std::uint64_t address = 0;
        PrivateKind kind = PrivateKind::kAnonymous;
        std::vector<UniqueFd> shown{};
        std::optional<RegionId> mapped{};

        bool untouched_is_zero() const;
    };
    ProcessBlocks(ProcessMemory process, ProcessPopulation population)
        : process_(std::move(process)), population_(std::move(population)) {}
    const Block& at(RegionId region) const { return blocks_[index_of(region)]; }

    ProcessMemory process_;
    ProcessPopulation population_;
    std::vector<Block> blocks_;
    std::uint16_t files_ = 0;  // blocks in files so far
};

}  // namespace migrate::memory
