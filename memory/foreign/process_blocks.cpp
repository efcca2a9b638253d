#include "memory/foreign/process_blocks.hpp"

namespace migrate::memory {

Result<ProcessBlocks> ProcessBlocks::create(ProcessMemory process) {
    MIGRATE_ASSIGN(ProcessPopulation population, ProcessPopulation::create(process.pid()));
    return ProcessBlocks(std::move(process), std::move(population));
}

std::optional<SharedRegion> ProcessBlocks::add(MemoryBlock& block) {
    Block added{.address = block.address, .anonymous = block.anonymous};
    std::optional<SharedRegion> file;
    if (block.file) {
        added.mapped = RegionId{files_++};
        file = *std::move(block.file);
    }
    blocks_.push_back(added);
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
    if (block.anonymous) return population_.query(block.address, range, extents);
    if (range.count != 0) extents.push_back({range, true});
    return {};
}

}  // namespace migrate::memory
