// SPDX-License-Identifier: Apache-2.0
// Finds QEMU's RAM blocks in its process: those in shared files are opened, and private ones are
// accessed by system calls. Needs nothing of how QEMU was started.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

#include "base/error.hpp"
#include "guest/qemu/qemu_memory.hpp"
#include "memory/foreign/process_memory.hpp"
#include "memory/source/block_source.hpp"

namespace migrate::guest {

struct QemuBlocks {
    std::vector<memory::MemoryBlock> blocks;  // in QEMU's order
    memory::ProcessMemory process;
    memory::MemoryOwner owner;
    OpenedMemory opened;
};

// `pid` 0: the process that listens on the socket. Nothing if QEMU does not tell the addresses of
// its blocks, or if its process cannot be seen. kRefused if the process may not be accessed.
Result<std::optional<QemuBlocks>> find_qemu_blocks(Monitor& monitor, pid_t pid, FileAccess access);

}  // namespace migrate::guest
