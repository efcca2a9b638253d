// SPDX-License-Identifier: Apache-2.0
#include "memory/foreign/process_blocks.hpp"

#include <sys/stat.h>

#include <algorithm>

namespace migrate::memory {

bool ProcessBlocks::Block::untouched_is_zero() const {
    return std::all_of(shown.begin(), shown.end(), [](const UniqueFd& file) {
        struct stat status {};
        return ::fstat(file.get(), &status) == 0 && status.st_blocks == 0;
    });
}

Result<ProcessBlocks> ProcessBlocks::create(ProcessMemory process) {
    MIGRATE_ASSIGN(ProcessPopulation population, ProcessPopulation::create(process.pid()));
    return ProcessBlocks(std::move(process), std::move(population));
}

std::optional<SharedRegion> ProcessBlocks::add(MemoryBlock& block) {
    Block added{.address = block.address,
                .kind = block.kind,
                .shown = std::move(block.shown),
                .mapped = {}};
    std::optional<SharedRegion> file;
    if (block.file) {
        added.mapped = RegionId{files_++};
        file = *std::move(block.file);
    }
    blocks_.push_back(std::move(added));
    return file;
}

Status ProcessBlocks::read(RegionId region, PageRange range, std::span<std::byte> to) const {
    return process_.read(at(region).address + range.offset_bytes(), to);
}

Status ProcessBlocks::write(RegionId region, PageRange range,
                            std::span<const std::byte> content) const {
    return process_.write(at(region).address + range.offset_bytes(), content);
}

Status ProcessBlocks::population(RegionId region, PageRange range,
                                 std::vector<PopulationExtent>& extents) const {
    const Block& block = at(region);
    if (block.kind != PrivateKind::kMixed && block.untouched_is_zero()) {
        return block.kind == PrivateKind::kHugetlb
                   ? population_.query_hugetlb(block.address, range, extents)
                   : population_.query(block.address, range, extents);
    }
    if (range.count != 0) extents.push_back({range, true});
    return {};
}

}  // namespace migrate::memory
