#include "memory/sink/block_sink.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "memory/foreign/process_population.hpp"
#include "memory/sink/shared_sink.hpp"

namespace migrate::memory {
namespace {

constexpr std::uint64_t kStepPages = 512 * kKiB / kPageSize;
// Zeros are written in runs of up to this size.
alignas(kPageSize) constexpr std::array<std::byte, kStepPages * kPageSize> kZeros{};

std::string size_text(std::uint64_t bytes) { return fmt::format("{} KiB", bytes / kKiB); }

// The differences that a user can act on, by name; empty if there are none.
template <typename NameOf>
std::string difference_of(std::span<const RegionInfo> offered, const std::vector<SinkBlock>& blocks,
                          NameOf name_of) {
    std::string text;
    const auto add = [&text](const std::string& one) { text += (text.empty() ? "" : "; ") + one; };
    for (const RegionInfo& region : offered) {
        const auto mine = std::find_if(blocks.begin(), blocks.end(), [&](const SinkBlock& block) {
            return name_of(block) == region.name;
        });
        if (mine == blocks.end()) {
            add(fmt::format("the sender has '{}' ({}), which is missing here", region.name,
                            size_text(region.size_bytes)));
        } else if (mine->block.size_bytes != region.size_bytes) {
            add(fmt::format("'{}' has {} at the sender and {} here", region.name,
                            size_text(region.size_bytes), size_text(mine->block.size_bytes)));
        }
    }
    for (const SinkBlock& block : blocks) {
        if (name_of(block).empty()) continue;
        const bool comes =
            std::any_of(offered.begin(), offered.end(),
                        [&](const RegionInfo& region) { return region.name == name_of(block); });
        if (comes) continue;
        add(fmt::format("'{}' ({}) is here and missing at the sender", name_of(block),
                        size_text(block.block.size_bytes)));
    }
    return text;
}

const std::string& block_name(const SinkBlock& block) { return block.block.name; }
const std::string& file_name(const SinkBlock& block) { return block.file_name; }

// The sender's names are checked: each of them comes once.
Status check_names(std::span<const RegionInfo> offered) {
    for (std::size_t i = 0; i < offered.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            if (offered[i].name != offered[j].name) continue;
            return make_error(ErrorKind::kProtocol, "the sender offers region {} twice",
                              offered[i].name);
        }
    }
    return {};
}

class BlockSink final : public PageSink {
  public:
    BlockSink(std::string_view uri, std::vector<SinkBlock> blocks, ProcessMemory process,
              ProcessPopulation population, UnseenProcesses unseen, AcceptBlocks accept)
        : uri_(uri),
          blocks_(std::move(blocks)),
          process_(std::move(process)),
          population_(std::move(population)),
          unseen_(unseen),
          accept_(std::move(accept)) {}

    std::string_view description() const override { return uri_; }
    bool discards() const override { return false; }

    Result<std::vector<SinkFile>> files() const override {
        std::vector<SinkFile> files;
        for (const SinkBlock& entry : blocks_) {
            if (!entry.block.file) continue;
            MIGRATE_ASSIGN(const FileIdentity identity, identify(entry.block.file->file.get()));
            files.push_back({identity, entry.block.file->path});
        }
        return files;
    }

    Status prepare(std::span<const RegionInfo> regions) override {
        MIGRATE_ASSIGN(const OfferedBlocks offered, compare(regions));
        MIGRATE_TRY(accept_(offered));
        std::vector<SharedRegion> shared;
        std::vector<RegionInfo> shared_infos;
        for (const RegionInfo& region : regions) {
            MemoryBlock& block = find(region.name, offered)->block;
            Part part{.address = block.address, .anonymous = block.anonymous};
            if (block.file) {
                part.mapped = static_cast<RegionId>(shared.size());
                shared_infos.push_back(region);
                block.file->name = region.name;
                shared.push_back(*std::move(block.file));
            }
            parts_.push_back(part);
        }
        if (!shared.empty()) {
            files_ = make_shared_sink(uri_, std::move(shared), process_.pid(), unseen_);
            // Refuses files that another process uses, before any byte changes.
            MIGRATE_TRY(files_->prepare(shared_infos));
        }
        for (std::size_t i = 0; i < regions.size(); ++i) {
            if (parts_[i].mapped) continue;
            MIGRATE_TRY(make_zero(parts_[i], regions[i]));
        }
        return {};
    }

    bool is_mapped(RegionId region) const override { return part(region).mapped.has_value(); }
    std::span<std::byte> memory(RegionId region) const override {
        const auto mapped = part(region).mapped;
        return mapped ? files_->memory(*mapped) : std::span<std::byte>();
    }
    Status write(RegionId region, PageRange range,
                 std::span<const std::byte> content) const override {
        return process_.write(part(region).address + range.offset_bytes(), content);
    }
    Status read(RegionId region, PageRange range, std::span<std::byte> to) const override {
        return process_.read(part(region).address + range.offset_bytes(), to);
    }
    BackingKind kind(RegionId region) const override {
        const auto mapped = part(region).mapped;
        return mapped ? files_->kind(*mapped) : BackingKind::kPrivate;
    }

    Status check_sole_use() const override { return files_ ? files_->check_sole_use() : Status(); }
    Status prefault(RegionId region, PageRange range) const override {
        const auto mapped = part(region).mapped;
        return mapped ? files_->prefault(*mapped, range) : Status();
    }
    Error explain(RegionId region, PageRange range, int code) const override {
        const auto mapped = part(region).mapped;
        return mapped ? files_->explain(*mapped, range, code)
                      : PageSink::explain(region, range, code);
    }
    Status clear(RegionId region, PageRange range) const override {
        const Part& of = part(region);
        return of.mapped ? files_->clear(*of.mapped, range) : write_zeros(of, range);
    }

    Status population(RegionId region, PageRange range,
                      std::vector<PopulationExtent>& extents) const override {
        const Part& of = part(region);
        if (of.mapped) return files_->population(*of.mapped, range, extents);
        return population_of(of, range, extents);
    }

    Status commit() override {
        MIGRATE_TRY(process_.check_alive());
        return files_ ? files_->commit() : Status();
    }

  private:
    struct Part {
        std::uint64_t address = 0;
        bool anonymous = true;
        std::optional<RegionId> mapped{};  // its region of files_
    };
    const Part& part(RegionId region) const { return parts_[index_of(region)]; }

    // By the name that such an offer uses.
    SinkBlock* find(const std::string& name, OfferedBlocks offered) {
        const auto found = std::find_if(blocks_.begin(), blocks_.end(), [&](SinkBlock& block) {
            return name == (offered == OfferedBlocks::kAll ? block_name(block) : file_name(block));
        });
        return found == blocks_.end() ? nullptr : &*found;
    }

    Result<OfferedBlocks> compare(std::span<const RegionInfo> regions) const {
        MIGRATE_TRY(check_names(regions));
        const std::string difference = difference_of(regions, blocks_, block_name);
        if (difference.empty()) return OfferedBlocks::kAll;
        if (difference_of(regions, blocks_, file_name).empty()) return OfferedBlocks::kFiles;
        return make_error(ErrorKind::kRefused,
                          "the guest's memory differs: {}; start {} with the sender's machine, "
                          "memory and devices",
                          difference, process_.description());
    }

    Status population_of(const Part& of, PageRange range,
                         std::vector<PopulationExtent>& extents) const {
        if (of.anonymous) return population_.query(of.address, range, extents);
        extents.push_back({range, true});
        return {};
    }

    Status write_zeros(const Part& of, PageRange range) const {
        for (PageRange rest = range; rest.count != 0;) {
            const PageRange step{rest.first, std::min(rest.count, kStepPages)};
            MIGRATE_TRY(process_.write(of.address + step.offset_bytes(),
                                       std::span(kZeros).first(step.size_bytes())));
            rest = {step.end(), rest.count - step.count};
        }
        return {};
    }

    // Clears what the process itself loaded there, such as its firmware. Untouched pages, and pages
    // that are zero, stay as they are.
    Status make_zero(const Part& of, const RegionInfo& info) const {
        std::vector<PopulationExtent> extents;
        MIGRATE_TRY(population_of(of, {0, info.pages()}, extents));
        std::vector<std::byte> content(kStepPages * kPageSize);
        for (const PopulationExtent& extent : extents) {
            if (!extent.populated) continue;
            for (PageRange rest = extent.pages; rest.count != 0;) {
                const PageRange step{rest.first, std::min(rest.count, kStepPages)};
                MIGRATE_TRY(make_step_zero(of, step, content));
                rest = {step.end(), rest.count - step.count};
            }
        }
        return {};
    }

    Status make_step_zero(const Part& of, PageRange step, std::span<std::byte> content) const {
        const auto bytes = content.first(step.size_bytes());
        MIGRATE_TRY(process_.read(of.address + step.offset_bytes(), bytes));
        for (std::uint64_t page = 0; page < step.count; ++page) {
            const std::byte* const at = bytes.data() + page * kPageSize;
            if (std::memcmp(at, kZeros.data(), kPageSize) == 0) continue;
            MIGRATE_TRY(write_zeros(of, {step.first + page, 1}));
        }
        return {};
    }

    std::string uri_;
    std::vector<SinkBlock> blocks_;
    ProcessMemory process_;
    ProcessPopulation population_;
    UnseenProcesses unseen_;
    AcceptBlocks accept_;
    std::vector<Part> parts_;          // in the sender's order; set by prepare()
    std::unique_ptr<PageSink> files_;  // the blocks in files; null if there are none
};

}  // namespace

Result<std::unique_ptr<PageSink>> make_block_sink(std::string_view uri,
                                                  std::vector<SinkBlock> blocks,
                                                  ProcessMemory process, UnseenProcesses unseen,
                                                  AcceptBlocks accept) {
    MIGRATE_ASSIGN(ProcessPopulation population, ProcessPopulation::create(process.pid()));
    return std::unique_ptr<PageSink>(
        std::make_unique<BlockSink>(uri, std::move(blocks), std::move(process),
                                    std::move(population), unseen, std::move(accept)));
}

}  // namespace migrate::memory
