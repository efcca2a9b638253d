// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/block_memory.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "base/limits.hpp"
#include "guest/qemu/process_proof.hpp"
#include "guest/qemu/qemu_devices.hpp"
#include "guest/qemu/questions.hpp"
#include "guest/qemu/ram_blocks.hpp"
#include "memory/foreign/process_maps.hpp"
#include "memory/sink/hugetlb_holes.hpp"

namespace migrate::guest {
namespace {

using memory::ForeignMapping;
using memory::MemoryBlock;
using memory::PrivateKind;
using memory::ProcessMapping;
using memory::SharedFileMapping;

// Everything that is needed to place one block.
struct Process {
    pid_t pid = 0;
    std::vector<ProcessMapping> mappings;
    std::vector<SharedFileMapping> shared;
    FileAccess access = FileAccess::kRead;
};

// The mappings that hold the block, by address.
Result<std::span<const ProcessMapping>> mappings_of(const Process& process, const RamBlock& block) {
    const auto& all = process.mappings;
    const auto first = std::find_if(all.begin(), all.end(), [&](const ProcessMapping& mapping) {
        return mapping.end > block.address;
    });
    std::uint64_t reached = block.address;
    auto last = first;
    while (last != all.end() && last->start <= reached &&
           reached < block.address + block.used_bytes) {
        reached = last->end;
        ++last;
    }
    const std::span found(first, last);
    if (reached < block.address + block.used_bytes) {
        return make_error("process {} has no memory at the address of its RAM block '{}'",
                          process.pid, block.name);
    }
    for (const ProcessMapping& mapping : found) {
        const bool usable =
            mapping.readable && (process.access == FileAccess::kRead || mapping.writable);
        if (usable && mapping.shared == found.front().shared) continue;
        return make_error(
            "its RAM block '{}' is mapped {}, which cannot be moved", block.name,
            usable ? "partly shared and partly private" : "without access for itself");
    }
    return found;
}

// Determines how untouched pages of a private block can be found. A file that cannot be opened may
// have any content.
void examine_private(const Process& process, std::span<const ProcessMapping> found,
                     MemoryBlock& block) {
    std::size_t huge = 0;
    for (const ProcessMapping& mapping : found) {
        if (mapping.file.inode == 0) continue;
        auto file = memory::open_mapped_file(process.pid, mapping, O_RDONLY);
        if (!file) {
            block.kind = PrivateKind::kMixed;
            return;
        }
        if (memory::hugetlb_page_size(file->get())) ++huge;
        block.shown.push_back(*std::move(file));
    }
    if (huge == 0) return;
    block.kind = huge == found.size() ? PrivateKind::kHugetlb : PrivateKind::kMixed;
}

Status add_private(const Process& process, const RamBlock& block,
                   std::span<const ProcessMapping> found, QemuBlocks& blocks) {
    blocks.owner.files.emplace_back();
    blocks.owner.regions.push_back({{block.address, block.used_bytes, 0}});
    blocks.owner.private_mappings.push_back(memory::private_mappings_in(
        process.mappings, block.address, block.address + block.used_bytes));
    blocks.opened.files.emplace_back();
    MemoryBlock added{.name = block.name,
                      .size_bytes = block.used_bytes,
                      .address = block.address,
                      .file = {},
                      .kind = PrivateKind::kAnonymous,
                      .shown = {}};
    examine_private(process, found, added);
    blocks.blocks.push_back(std::move(added));
    return {};
}

Status add_shared(const Process& process, const RamBlock& block, const ProcessMapping& found,
                  QemuBlocks& blocks) {
    const int flags = process.access == FileAccess::kRead ? O_RDONLY : O_RDWR;
    MIGRATE_ASSIGN(UniqueFd file, memory::open_mapped_file(process.pid, found, flags));
    MIGRATE_ASSIGN(const FileIdentity identity, identify(file.get()));
    std::vector<ForeignMapping> where = memory::mappings_of(process.shared, found.file);
    const bool is_whole = where.size() == 1 && where[0].address == block.address &&
                          where[0].file_offset == 0 && where[0].size >= block.used_bytes;
    if (!is_whole) {
        return make_error(
            "its RAM block '{}' is not the whole of the file {}, which is mapped once and for "
            "writing: give every memory backend a file of its own, without an offset",
            block.name, found.path);
    }
    UniqueFd copy(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
    if (!copy) return Error::system("duplicate a file descriptor", errno);
    blocks.owner.files.push_back(identity);
    blocks.owner.regions.push_back(std::move(where));
    blocks.owner.private_mappings.emplace_back();
    blocks.opened.files.push_back(std::move(copy));
    blocks.blocks.push_back(
        {.name = block.name,
         .size_bytes = block.used_bytes,
         .address = block.address,
         .file = memory::SharedRegion{block.name, std::move(file), block.used_bytes, found.path},
         .kind = PrivateKind::kAnonymous,
         .shown = {}});
    return {};
}

Status add_block(const Process& process, const RamBlock& block, QemuBlocks& blocks) {
    MIGRATE_ASSIGN(const auto found, mappings_of(process, block));
    blocks.opened.regions.push_back({block.name, block.used_bytes});
    return found.front().shared ? add_shared(process, block, found.front(), blocks)
                                : add_private(process, block, found, blocks);
}

}  // namespace

Result<std::optional<QemuBlocks>> find_qemu_blocks(Monitor& monitor, pid_t given,
                                                   FileAccess access) {
    const pid_t pid = given != 0 ? given : monitor.peer_pid();
    if (pid == 0) return std::optional<QemuBlocks>();
    MIGRATE_ASSIGN(auto listed, query_ram_blocks(monitor));
    if (!listed) return std::optional<QemuBlocks>();
    if (listed->size() > kMaxRegions) {
        return make_error("it has {} RAM blocks, and {} can be moved", listed->size(), kMaxRegions);
    }
    MIGRATE_TRY(check_is_qemu(monitor, pid));
    MIGRATE_ASSIGN(auto opened, memory::ProcessMemory::open(pid));
    QemuBlocks blocks{.blocks = {}, .process = std::move(opened), .owner = {}, .opened = {}};
    blocks.owner.pid = pid;
    blocks.owner.description = blocks.process.description();
    const Monitor::Moment moment(
        monitor,
        joined({device_questions(), memory_questions(monitor), {{"query-memory-size-summary"}}}));
    MIGRATE_TRY(check_no_host_device(monitor, pid));
    MIGRATE_TRY(check_devices_are_whole(monitor));
    MIGRATE_ASSIGN(blocks.owner.outside_writer, outside_writer(monitor));
    MIGRATE_ASSIGN(blocks.opened.layout, query_memory_layout(monitor));
    Process process{.pid = pid, .mappings = {}, .shared = {}, .access = access};
    MIGRATE_ASSIGN(process.mappings, memory::process_mappings(pid));
    process.shared = memory::shared_file_mappings(process.mappings);
    for (const RamBlock& block : *listed) MIGRATE_TRY(add_block(process, block, blocks));
    blocks.opened.owner = blocks.owner;
    blocks.opened.blocks = std::move(listed);
    return std::optional(std::move(blocks));
}

}  // namespace migrate::guest
