// SPDX-License-Identifier: Apache-2.0
// Finds the files of a QEMU's guest memory from outside. Invariant: the result is all of the
// guest's memory; a guest with memory that cannot be reached is refused.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/config/form.hpp"
#include "base/error.hpp"
#include "guest/qemu/memory_layout.hpp"
#include "guest/qemu/monitor.hpp"
#include "guest/qemu/ram_blocks.hpp"
#include "memory/foreign/foreign_mapping.hpp"
#include "memory/foreign/sole_use.hpp"
#include "memory/source/shared_source.hpp"

namespace migrate::guest {

enum class FileAccess { kRead, kWrite };

// The memory that was opened, kept to be compared with QEMU's memory later.
struct OpenedMemory {
    MemoryLayout layout;
    memory::MemoryOwner owner;
    std::vector<RegionInfo> regions;
    std::vector<UniqueFd> files;                  // one per region; empty for private memory
    std::optional<std::vector<RamBlock>> blocks;  // if the regions are QEMU's RAM blocks
};

struct QemuMemory {
    std::vector<memory::SharedRegion> regions;  // one per backend, named by its id
    memory::MemoryOwner owner;                  // pid 0 if the process cannot be seen
    OpenedMemory opened;
};

// For a QEMU that block_memory.hpp cannot serve. `pid` 0: the process that listens on the socket.
// The Error says how QEMU must be started.
Result<QemuMemory> find_qemu_memory(Monitor& monitor, pid_t pid, FileAccess access);

// Checks that QEMU has exactly the memory that was opened: the same backends, sizes, memory
// devices, files, RAM blocks and addresses. An Error names the one that differs. Takes three or
// four queries to QEMU, under a millisecond if its main loop is idle.
Status check_same_memory(Monitor& monitor, const OpenedMemory& opened,
                         LayoutSince since = LayoutSince::kOpened);

struct QemuAddress {
    std::string socket;
    pid_t pid = 0;  // 0: not given
    memory::UnseenProcesses unseen = memory::UnseenProcesses::kRefuse;
    MachineDifferences differences = MachineDifferences::kRefuse;
};
// Read the words of qemu: as a source and as a sink.
QemuAddress qemu_source_address(const ParsedForm& parsed);
QemuAddress qemu_sink_address(const ParsedForm& parsed);

}  // namespace migrate::guest
