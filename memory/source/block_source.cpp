// SPDX-License-Identifier: Apache-2.0
#include "memory/source/block_source.hpp"

#include <utility>

namespace migrate::memory {
namespace {

class BlockSource final : public PageSource {
  public:
    BlockSource(std::string_view uri, ProcessBlocks blocks, MemoryOwner owner)
        : uri_(uri), blocks_(std::move(blocks)), owner_(std::move(owner)) {}

    Status add(std::vector<MemoryBlock> blocks) {
        std::vector<SharedRegion> shared;
        MemoryOwner sharing = owner_;
        sharing.files.clear();
        sharing.regions.clear();
        sharing.private_mappings.clear();
        for (std::size_t i = 0; i < blocks.size(); ++i) {
            MemoryBlock& block = blocks[i];
            infos_.push_back({block.name, block.size_bytes});
            if (std::optional<SharedRegion> file = blocks_.add(block)) {
                shared.push_back(*std::move(file));
                sharing.files.push_back(owner_.files[i]);
                sharing.regions.push_back(owner_.regions[i]);
            }
        }
        if (!shared.empty()) {
            MIGRATE_ASSIGN(files_, open_shared_source(uri_, std::move(shared), std::move(sharing)));
        }
        owner_.kinds.assign(infos_.size(), FileMemory::kOnDisk);
        for (std::size_t i = 0; i < infos_.size(); ++i) {
            const auto mapped = blocks_.mapped(static_cast<RegionId>(i));
            if (mapped) owner_.kinds[i] = files_->owner()->kinds[index_of(*mapped)];
        }
        return {};
    }

    std::string_view description() const override { return uri_; }
    std::span<const RegionInfo> regions() const override { return infos_; }
    bool is_mapped(RegionId region) const override { return blocks_.mapped(region).has_value(); }

    std::span<const std::byte> memory(RegionId region) const override {
        const auto mapped = blocks_.mapped(region);
        return mapped ? files_->memory(*mapped) : std::span<const std::byte>();
    }

    Status population(RegionId region, PageRange range,
                      std::vector<PopulationExtent>& extents) const override {
        const auto mapped = blocks_.mapped(region);
        return mapped ? files_->population(*mapped, range, extents)
                      : blocks_.population(region, range, extents);
    }

    // Private memory of a file takes its untouched pages from the file.
    bool reading_fills_holes() const override { return true; }

    void look_again() const override {
        if (files_) files_->look_again();
    }

    Status prefault(RegionId region, PageRange range) const override {
        const auto mapped = blocks_.mapped(region);
        return mapped ? files_->prefault(*mapped, range) : Status();
    }

    std::uint64_t largest_page_bytes() const override {
        return files_ ? files_->largest_page_bytes() : PageSource::largest_page_bytes();
    }

    Status read(RegionId region, PageRange range, std::byte* to) const override {
        const auto mapped = blocks_.mapped(region);
        return mapped ? files_->read(*mapped, range, to)
                      : blocks_.read(region, range, {to, range.size_bytes()});
    }

    std::optional<FileIdentity> file_of(RegionId region) const override {
        const auto mapped = blocks_.mapped(region);
        return mapped ? files_->file_of(*mapped) : std::nullopt;
    }

    Status check_unchanged() const override {
        return files_ ? files_->check_unchanged() : Status();
    }
    const MemoryOwner* owner() const override { return &owner_; }

  private:
    std::string uri_;
    ProcessBlocks blocks_;
    MemoryOwner owner_;
    std::vector<RegionInfo> infos_;
    std::unique_ptr<PageSource> files_;  // the blocks in files; null if there are none
};

}  // namespace

Result<std::unique_ptr<PageSource>> open_block_source(std::string_view uri,
                                                      std::vector<MemoryBlock> blocks,
                                                      ProcessMemory process, MemoryOwner owner) {
    MIGRATE_ASSIGN(ProcessBlocks process_blocks, ProcessBlocks::create(std::move(process)));
    auto source = std::make_unique<BlockSource>(uri, std::move(process_blocks), std::move(owner));
    MIGRATE_TRY(source->add(std::move(blocks)));
    return std::unique_ptr<PageSource>(std::move(source));
}

}  // namespace migrate::memory
