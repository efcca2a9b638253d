// The memory blocks of another process as a source. A block in a shared file is mapped here;
// private memory of the process is read by system calls. population() reports the state at the time
// of the call; a dirty tracker sees pages that are written later.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "memory/foreign/process_memory.hpp"
#include "memory/source/page_source.hpp"
#include "memory/source/shared_source.hpp"

namespace migrate::memory {

struct MemoryBlock {
    std::string name;
    std::uint64_t size_bytes = 0;
    std::uint64_t address = 0;  // in the process
    // The file that holds it from its first byte on; nothing for private memory.
    std::optional<SharedRegion> file{};
    // Private memory whose untouched pages are zeros, and not those of a file.
    bool anonymous = true;
};

// `owner` has one entry per block (MemoryOwner::is_private() for private memory). An Error if a
// file is shorter than its block or cannot be mapped.
Result<std::unique_ptr<PageSource>> open_block_source(std::string_view uri,
                                                      std::vector<MemoryBlock> blocks,
                                                      ProcessMemory process, MemoryOwner owner);

}  // namespace migrate::memory
