#include "memory/shared_sink.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "memory/shared_backing.hpp"

namespace migrate::memory {
namespace {

// "a (1024 MiB) and b (…)"
template <typename Regions>
std::string list_of(const Regions& regions) {
    std::string list;
    for (const auto& region : regions) {
        list += fmt::format("{}'{}' ({} KiB)", list.empty() ? "" : ", ", region.name,
                            region.size_bytes / kKiB);
    }
    return list;
}

class SharedSink final : public PageSink {
  public:
    SharedSink(std::string_view uri, std::vector<SharedRegion> regions)
        : uri_(uri), regions_(std::move(regions)) {}

    std::string_view description() const override { return uri_; }
    bool discards() const override { return false; }
    bool hosts_guest() const override { return true; }

    Status prepare(std::span<const RegionInfo> regions) override {
        std::vector<SharedRegion*> order;
        for (const RegionInfo& region : regions) {
            const auto found =
                std::find_if(regions_.begin(), regions_.end(), [&](const SharedRegion& mine) {
                    return mine.name == region.name && mine.size_bytes == region.size_bytes;
                });
            if (found != regions_.end()) order.push_back(&*found);
        }
        if (order.size() != regions.size() || order.size() != regions_.size()) {
            return make_error(
                "the guest's memory differs: the sender has {}, and {} has {}; both need the same "
                "memory backends, by id and size",
                list_of(regions), uri_, list_of(regions_));
        }
        for (SharedRegion* region : order) {
            MIGRATE_ASSIGN(
                SharedBacking backing,
                SharedBacking::adopt(std::move(region->file), region->size_bytes, region->path));
            MIGRATE_TRY(make_zero(backing));
            backings_.push_back(std::move(backing));
        }
        return {};
    }

    std::span<std::byte> memory(RegionId region) const override { return at(region).bytes(); }
    Status prefault(RegionId region, PageRange range) const override {
        return at(region).prefault(range);
    }
    Status clear(RegionId region, PageRange range) const override {
        return at(region).clear(range);
    }
    Status population(RegionId region, PageRange range,
                      std::vector<PopulationExtent>& extents) const override {
        return at(region).population(range, extents);
    }
    Status commit() override { return {}; }

  private:
    // What an earlier attempt, or the other process's start, left there.
    static Status make_zero(const SharedBacking& backing) {
        const PageRange all{0, backing.bytes().size() / kPageSize};
        if (!backing.on_hugetlbfs()) return backing.clear(all);
        // Huge pages that were set aside for the process stay its own.
        std::vector<PopulationExtent> extents;
        MIGRATE_TRY(backing.population(all, extents));
        for (const PopulationExtent& extent : extents) {
            if (!extent.populated) continue;
            const auto bytes =
                backing.bytes().subspan(extent.pages.offset_bytes(), extent.pages.size_bytes());
            std::memset(bytes.data(), 0, bytes.size());
        }
        return {};
    }
    const SharedBacking& at(RegionId region) const { return backings_[index_of(region)]; }

    std::string uri_;
    std::vector<SharedRegion> regions_;
    std::vector<SharedBacking> backings_;  // from prepare() on, in the sender's order
};

}  // namespace

std::unique_ptr<PageSink> make_shared_sink(std::string_view uri,
                                           std::vector<SharedRegion> regions) {
    return std::make_unique<SharedSink>(uri, std::move(regions));
}

}  // namespace migrate::memory
