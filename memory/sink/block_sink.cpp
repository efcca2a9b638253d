// SPDX-License-Identifier: Apache-2.0
#include "memory/sink/block_sink.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "base/page_buffer.hpp"
#include "memory/pieces.hpp"
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
    BlockSink(std::string_view uri, std::vector<SinkBlock> own, ProcessBlocks blocks,
              UnseenProcesses unseen, AcceptBlocks accept)
        : uri_(uri),
          own_(std::move(own)),
          blocks_(std::move(blocks)),
          unseen_(unseen),
          accept_(std::move(accept)) {}

    std::string_view description() const override { return uri_; }
    bool discards() const override { return false; }

    Result<std::vector<SinkFile>> files() const override {
        std::vector<SinkFile> files;
        for (const SinkBlock& entry : own_) {
            if (!entry.block.file) continue;
            MIGRATE_ASSIGN(const FileIdentity identity, identify(entry.block.file->file.get()));
            files.push_back({identity, entry.block.file->path});
        }
        return files;
    }

    void obey(std::stop_token stop) override { stop_ = std::move(stop); }

    Status prepare(std::span<const RegionInfo> regions) override {
        MIGRATE_ASSIGN(const OfferedBlocks offered, compare(regions));
        MIGRATE_TRY(accept_(offered));
        std::vector<SharedRegion> shared;
        std::vector<RegionInfo> shared_infos;
        for (const RegionInfo& region : regions) {
            MemoryBlock& block = find(region.name, offered)->block;
            if (std::optional<SharedRegion> file = blocks_.add(block)) {
                file->name = region.name;
                shared.push_back(*std::move(file));
                shared_infos.push_back(region);
            }
        }
        if (!shared.empty()) {
            files_ = make_shared_sink(uri_, std::move(shared), blocks_.process().pid(), unseen_);
            files_->obey(stop_);
            // Refuses files that another process uses, before any byte changes.
            MIGRATE_TRY(files_->prepare(shared_infos));
        }
        for (std::size_t i = 0; i < regions.size(); ++i) {
            const RegionId id{static_cast<std::uint16_t>(i)};
            if (!blocks_.mapped(id)) MIGRATE_TRY(make_zero(id, regions[i].pages()));
        }
        return {};
    }

    bool is_mapped(RegionId region) const override { return blocks_.mapped(region).has_value(); }
    std::span<std::byte> memory(RegionId region) const override {
        const auto mapped = blocks_.mapped(region);
        return mapped ? files_->memory(*mapped) : std::span<std::byte>();
    }
    Status write(RegionId region, PageRange range,
                 std::span<const std::byte> content) const override {
        return blocks_.write(region, range, content);
    }
    Status read(RegionId region, PageRange range, std::span<std::byte> to) const override {
        return blocks_.read(region, range, to);
    }
    BackingKind kind(RegionId region) const override {
        const auto mapped = blocks_.mapped(region);
        return mapped ? files_->kind(*mapped) : BackingKind::kPrivate;
    }

    Status check_sole_use() const override { return files_ ? files_->check_sole_use() : Status(); }
    Status prefault(RegionId region, PageRange range) const override {
        const auto mapped = blocks_.mapped(region);
        return mapped ? files_->prefault(*mapped, range) : Status();
    }
    Error explain(RegionId region, PageRange range, int code) const override {
        const auto mapped = blocks_.mapped(region);
        return mapped ? files_->explain(*mapped, range, code)
                      : PageSink::explain(region, range, code);
    }
    Status clear(RegionId region, PageRange range) const override {
        const auto mapped = blocks_.mapped(region);
        return mapped ? files_->clear(*mapped, range) : write_zeros(region, range);
    }

    Status population(RegionId region, PageRange range,
                      std::vector<PopulationExtent>& extents) const override {
        const auto mapped = blocks_.mapped(region);
        return mapped ? files_->population(*mapped, range, extents)
                      : blocks_.population(region, range, extents);
    }

    Status commit() override {
        MIGRATE_TRY(blocks_.process().check_alive());
        return files_ ? files_->commit() : Status();
    }

  private:
    // Returns the block that such an offer calls by this name; null if there is none.
    SinkBlock* find(const std::string& name, OfferedBlocks offered) {
        const auto found = std::find_if(own_.begin(), own_.end(), [&](SinkBlock& block) {
            return name == (offered == OfferedBlocks::kAll ? block_name(block) : file_name(block));
        });
        return found == own_.end() ? nullptr : &*found;
    }

    Result<OfferedBlocks> compare(std::span<const RegionInfo> regions) const {
        MIGRATE_TRY(check_names(regions));
        const std::string difference = difference_of(regions, own_, block_name);
        if (difference.empty()) return OfferedBlocks::kAll;
        if (difference_of(regions, own_, file_name).empty()) return OfferedBlocks::kFiles;
        return make_error(ErrorKind::kRefused,
                          "the guest's memory differs: {}; start {} with the sender's machine, "
                          "memory and devices",
                          difference, blocks_.process().description());
    }

    Status write_zeros(RegionId region, PageRange range) const {
        return for_each_step(range, kStepPages, [&](PageRange step) {
            return blocks_.write(region, step, std::span(kZeros).first(step.size_bytes()));
        });
    }

    // Clears what the process itself loaded there, such as its firmware. Untouched pages, and pages
    // that are zero, stay as they are.
    Status make_zero(RegionId region, std::uint64_t pages) const {
        std::vector<PopulationExtent> extents;
        MIGRATE_TRY(blocks_.population(region, {0, pages}, extents));
        PageBuffer content(kStepPages * kPageSize);
        for (const PopulationExtent& extent : extents) {
            if (!extent.populated) continue;
            MIGRATE_TRY(for_each_step(extent.pages, kStepPages, [&](PageRange step) {
                return make_step_zero(region, step, content);
            }));
        }
        return {};
    }

    Status make_step_zero(RegionId region, PageRange step, std::span<std::byte> content) const {
        if (stop_.stop_requested()) return cancelled_clearing(uri_);
        const auto bytes = content.first(step.size_bytes());
        MIGRATE_TRY(blocks_.read(region, step, bytes));
        for (std::uint64_t page = 0; page < step.count; ++page) {
            const std::byte* const at = bytes.data() + page * kPageSize;
            if (std::memcmp(at, kZeros.data(), kPageSize) == 0) continue;
            MIGRATE_TRY(write_zeros(region, {step.first + page, 1}));
        }
        return {};
    }

    std::string uri_;
    std::vector<SinkBlock> own_;  // in the process's order
    ProcessBlocks blocks_;        // in the sender's order; added by prepare()
    UnseenProcesses unseen_;
    AcceptBlocks accept_;
    std::stop_token stop_;
    std::unique_ptr<PageSink> files_;  // the blocks in files; null if there are none
};

}  // namespace

Result<std::unique_ptr<PageSink>> make_block_sink(std::string_view uri,
                                                  std::vector<SinkBlock> blocks,
                                                  ProcessMemory process, UnseenProcesses unseen,
                                                  AcceptBlocks accept) {
    MIGRATE_ASSIGN(ProcessBlocks process_blocks, ProcessBlocks::create(std::move(process)));
    return std::unique_ptr<PageSink>(std::make_unique<BlockSink>(
        uri, std::move(blocks), std::move(process_blocks), unseen, std::move(accept)));
}

}  // namespace migrate::memory
