// SPDX-License-Identifier: Apache-2.0
#include "lib/given_source.hpp"

#include <algorithm>
#include <utility>

#include "lib/callback_tracker.hpp"
#include "memory/dirty/dirty_tracker.hpp"
#include "memory/sink/populate.hpp"

namespace migrate::lib {
namespace {

using memory::PopulationExtent;

class GivenSource final : public memory::PageSource {
  public:
    GivenSource(std::vector<GivenRegion> regions, std::shared_ptr<const Callbacks> callbacks)
        : regions_(std::move(regions)), callbacks_(std::move(callbacks)) {
        for (const GivenRegion& region : regions_) infos_.push_back(region.info());
    }

    std::string_view description() const override { return kDescription; }
    std::span<const RegionInfo> regions() const override { return infos_; }
    std::span<const std::byte> memory(RegionId region) const override { return at(region).bytes(); }
    Status population(RegionId region, PageRange range,
                      std::vector<PopulationExtent>& extents) const override {
        return at(region).population(range, extents);
    }
    void look_again() const override {
        for (const GivenRegion& region : regions_) region.look_again();
    }
    bool reading_fills_holes() const override {
        return callbacks_ != nullptr &&
               std::any_of(regions_.begin(), regions_.end(),
                           [](const auto& one) { return one.is_shared(); });
    }
    Status prefault(RegionId region, PageRange range) const override {
        const int code =
            memory::populate(at(region).bytes_of(range), memory::PopulateFor::kReading);
        if (code == 0) return {};
        return Error::system(fmt::format("read region '{}'", at(region).info().name), code);
    }
    std::uint64_t largest_page_bytes() const override {
        std::uint64_t largest = kHugePageSize;
        for (const GivenRegion& region : regions_) largest = std::max(largest, region.page_size());
        return largest;
    }
    std::optional<FileIdentity> file_of(RegionId region) const override {
        return at(region).file();
    }
    Status check_unchanged() const override {
        for (const GivenRegion& region : regions_) MIGRATE_TRY(region.check_size());
        return {};
    }
    std::unique_ptr<memory::DirtyTracker> make_own_tracker() const override {
        if (!callbacks_ || !callbacks_->has_dirty_log()) return nullptr;
        return make_callback_tracker(callbacks_, infos_);
    }

  private:
    const GivenRegion& at(RegionId region) const { return regions_[index_of(region)]; }

    const std::vector<GivenRegion> regions_;
    std::vector<RegionInfo> infos_;
    const std::shared_ptr<const Callbacks> callbacks_;
};

}  // namespace

std::unique_ptr<memory::PageSource> make_given_source(std::vector<GivenRegion> regions,
                                                      std::shared_ptr<const Callbacks> callbacks) {
    return std::make_unique<GivenSource>(std::move(regions), std::move(callbacks));
}

}  // namespace migrate::lib
