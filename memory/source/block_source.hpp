// SPDX-License-Identifier: Apache-2.0
// The memory blocks of another process as a source. A block in a shared file is mapped here;
// private memory of the process is read by system calls. population() reports the state at the time
// of the call; a dirty tracker sees pages that are written later.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "memory/foreign/process_blocks.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::memory {

// `owner` has one entry per block (MemoryOwner::is_private() for private memory). An Error if a
// file is shorter than its block or cannot be mapped.
Result<std::unique_ptr<PageSource>> open_block_source(std::string_view uri,
                                                      std::vector<MemoryBlock> blocks,
                                                      ProcessMemory process, MemoryOwner owner);

}  // namespace migrate::memory
