// SPDX-License-Identifier: Apache-2.0
// The memory blocks of another process as a sink. A block in a shared file is mapped here and
// protected as in shared_sink.hpp; private memory of the process is written by system calls, and no
// other process can have it. Invariant: before a byte changes, every block of the sender has been
// compared with the process's blocks, by name and size.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "memory/foreign/process_blocks.hpp"
#include "memory/foreign/sole_use.hpp"
#include "memory/sink/page_sink.hpp"

namespace migrate::memory {

struct SinkBlock {
    MemoryBlock block;
    // The name of the same memory for a sender that sends shared files alone; empty: it sends this
    // block in another way.
    std::string file_name{};
};

// The blocks that a sender offered.
enum class OfferedBlocks {
    kAll,    // every block
    kFiles,  // those with a file_name, by that name
};

// Called by prepare() after the comparison, before a byte changes; an Error refuses the sender.
using AcceptBlocks = std::function<Status(OfferedBlocks)>;

// prepare() requires that the sender's regions are these blocks, in any order. It sets private
// memory that is not zero to zero.
Result<std::unique_ptr<PageSink>> make_block_sink(std::string_view uri,
                                                  std::vector<SinkBlock> blocks,
                                                  ProcessMemory process, UnseenProcesses unseen,
                                                  AcceptBlocks accept);

}  // namespace migrate::memory
