// SPDX-License-Identifier: Apache-2.0
#include "lib/given_sink.hpp"

#include <algorithm>
#include <utility>

#include "lib/given_source.hpp"
#include "memory/sink/populate.hpp"

namespace migrate::lib {
namespace {

using memory::PopulationExtent;

// Returns "'a' (1048576 bytes), 'b' (…)".
template <typename Regions, typename InfoOf>
std::string list_of(const Regions& regions, InfoOf info_of) {
    std::string list;
    for (const auto& region : regions) {
        const RegionInfo& info = info_of(region);
        list +=
            fmt::format("{}'{}' ({} bytes)", list.empty() ? "" : ", ", info.name, info.size_bytes);
    }
    return list;
}

class GivenSink final : public memory::PageSink {
  public:
    explicit GivenSink(std::shared_ptr<const std::vector<GivenRegion>> regions)
        : regions_(std::move(regions)) {}

    std::string_view description() const override { return kDescription; }
    bool discards() const override { return false; }
    bool hosts_guest() const override { return true; }
    void obey(std::stop_token stop) override { stop_ = std::move(stop); }

    Result<std::vector<memory::SinkFile>> files() const override {
        std::vector<memory::SinkFile> files;
        for (const GivenRegion& region : *regions_) {
            if (const auto file = region.file()) {
                files.push_back({*file, fmt::format("region '{}'", region.info().name)});
            }
        }
        return files;
    }

    Status prepare(std::span<const RegionInfo> offered) override {
        for (const RegionInfo& wanted : offered) {
            const auto found =
                std::find_if(regions_->begin(), regions_->end(), [&](const GivenRegion& mine) {
                    return mine.info().name == wanted.name &&
                           mine.info().size_bytes == wanted.size_bytes;
                });
            if (found == regions_->end()) continue;
            if (std::find(order_.begin(), order_.end(), &*found) != order_.end()) {
                return make_error(ErrorKind::kProtocol, "the sender offers region '{}' twice",
                                  wanted.name);
            }
            order_.push_back(&*found);
        }
        if (order_.size() != offered.size() || order_.size() != regions_->size()) {
            return make_error(
                "the guest's memory differs: the sender has {}, and this side has {}",
                list_of(offered, [](const RegionInfo& info) -> const RegionInfo& { return info; }),
                list_of(*regions_,
                        [](const GivenRegion& mine) -> const RegionInfo& { return mine.info(); }));
        }
        // All regions are checked before the first byte of any is changed.
        for (const GivenRegion* region : order_) MIGRATE_TRY(region->check_size());
        for (const GivenRegion* region : order_) MIGRATE_TRY(region->clear_all(stop_));
        return {};
    }

    std::span<std::byte> memory(RegionId region) const override { return at(region).bytes(); }
    memory::BackingKind kind(RegionId region) const override { return at(region).kind(); }
    Status prefault(RegionId region, PageRange range) const override {
        // The first write to transparent huge pages makes whole ones anyway.
        if (at(region).kind() == memory::BackingKind::kPrivateHuge) return {};
        const int code =
            memory::populate(at(region).bytes_of(range), memory::PopulateFor::kWriting);
        if (code == 0) return {};
        MIGRATE_TRY(at(region).check_size());
        return Error::system(fmt::format("make room in region '{}' at offset {}",
                                         at(region).info().name, range.offset_bytes()),
                             code);
    }
    Status clear(RegionId region, PageRange range) const override {
        return at(region).clear(range);
    }
    Status population(RegionId region, PageRange range,
                      std::vector<PopulationExtent>& extents) const override {
        return at(region).population(range, extents);
    }
    Status commit() override {
        for (const GivenRegion* region : order_) MIGRATE_TRY(region->check_size());
        return {};
    }
    bool may_commit_again() const override { return true; }

  private:
    const GivenRegion& at(RegionId region) const { return *order_[index_of(region)]; }

    const std::shared_ptr<const std::vector<GivenRegion>> regions_;
    std::vector<const GivenRegion*> order_;  // the sender's; set by prepare()
    std::stop_token stop_;
};

}  // namespace

std::unique_ptr<memory::PageSink> make_given_sink(
    std::shared_ptr<const std::vector<GivenRegion>> regions) {
    return std::make_unique<GivenSink>(std::move(regions));
}

}  // namespace migrate::lib
