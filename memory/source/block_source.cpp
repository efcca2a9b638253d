#include "memory/source/block_source.hpp"

#include <utility>

#include "memory/foreign/process_population.hpp"

namespace migrate::memory {
namespace {

class BlockSource final : public PageSource {
  public:
    BlockSource(std::string_view uri, ProcessMemory process, ProcessPopulation population,
                MemoryOwner owner)
        : uri_(uri),
          process_(std::move(process)),
          population_(std::move(population)),
          owner_(std::move(owner)) {}

    Status add(std::vector<MemoryBlock> blocks) {
        std::vector<SharedRegion> shared;
        MemoryOwner sharing = owner_;
        sharing.files.clear();
        sharing.regions.clear();
        for (std::size_t i = 0; i < blocks.size(); ++i) {
            MemoryBlock& block = blocks[i];
            infos_.push_back({block.name, block.size_bytes});
            Part part{.address = block.address, .anonymous = block.anonymous};
            if (block.file) {
                part.mapped = static_cast<RegionId>(shared.size());
                shared.push_back(*std::move(block.file));
                sharing.files.push_back(owner_.files[i]);
                sharing.regions.push_back(owner_.regions[i]);
            }
            parts_.push_back(part);
        }
        if (!shared.empty()) {
            MIGRATE_ASSIGN(files_, open_shared_source(uri_, std::move(shared), std::move(sharing)));
        }
        owner_.kinds.assign(parts_.size(), FileMemory::kOnDisk);
        for (std::size_t i = 0; i < parts_.size(); ++i) {
            if (!parts_[i].mapped) continue;
            owner_.kinds[i] = files_->owner()->kinds[index_of(*parts_[i].mapped)];
        }
        return {};
    }

    std::string_view description() const override { return uri_; }
    std::span<const RegionInfo> regions() const override { return infos_; }
    bool is_mapped(RegionId region) const override { return part(region).mapped.has_value(); }

    std::span<const std::byte> memory(RegionId region) const override {
        const auto mapped = part(region).mapped;
        return mapped ? files_->memory(*mapped) : std::span<const std::byte>();
    }

    Status population(RegionId region, PageRange range,
                      std::vector<PopulationExtent>& extents) const override {
        const Part& of = part(region);
        if (of.mapped) return files_->population(*of.mapped, range, extents);
        if (of.anonymous) return population_.query(of.address, range, extents);
        if (range.count != 0) extents.push_back({range, true});
        return {};
    }

    void look_again() const override {
        if (files_) files_->look_again();
    }

    Status prefault(RegionId region, PageRange range) const override {
        const auto mapped = part(region).mapped;
        return mapped ? files_->prefault(*mapped, range) : Status();
    }

    std::uint64_t largest_page_bytes() const override {
        return files_ ? files_->largest_page_bytes() : PageSource::largest_page_bytes();
    }

    Status read(RegionId region, PageRange range, std::byte* to) const override {
        const Part& of = part(region);
        if (of.mapped) return files_->read(*of.mapped, range, to);
        return process_.read(of.address + range.offset_bytes(), {to, range.size_bytes()});
    }

    std::optional<FileIdentity> file_of(RegionId region) const override {
        const auto mapped = part(region).mapped;
        return mapped ? files_->file_of(*mapped) : std::nullopt;
    }

    Status check_unchanged() const override {
        return files_ ? files_->check_unchanged() : Status();
    }
    const MemoryOwner* owner() const override { return &owner_; }

  private:
    struct Part {
        std::uint64_t address = 0;
        bool anonymous = true;
        std::optional<RegionId> mapped{};  // its region of files_
    };
    const Part& part(RegionId region) const { return parts_[index_of(region)]; }

    std::string uri_;
    ProcessMemory process_;
    ProcessPopulation population_;
    MemoryOwner owner_;
    std::vector<RegionInfo> infos_;
    std::vector<Part> parts_;
    std::unique_ptr<PageSource> files_;  // the blocks in files; null if there are none
};

}  // namespace

Result<std::unique_ptr<PageSource>> open_block_source(std::string_view uri,
                                                      std::vector<MemoryBlock> blocks,
                                                      ProcessMemory process, MemoryOwner owner) {
    MIGRATE_ASSIGN(ProcessPopulation population, ProcessPopulation::create(process.pid()));
    auto source = std::make_unique<BlockSource>(uri, std::move(process), std::move(population),
                                                std::move(owner));
    MIGRATE_TRY(source->add(std::move(blocks)));
    return std::unique_ptr<PageSource>(std::move(source));
}

}  // namespace migrate::memory
