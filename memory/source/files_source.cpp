// SPDX-License-Identifier: Apache-2.0
#include "memory/source/files_source.hpp"

#include <algorithm>
#include <utility>

#include "memory/source/file_source.hpp"

namespace migrate::memory {
namespace {

constexpr RegionId kOnlyRegion{0};  // of a file's own source

class FilesSource final : public PageSource {
  public:
    explicit FilesSource(std::string_view uri) : uri_(uri) {}

    Status add(RegionImage image) {
        MIGRATE_ASSIGN(auto source, make_file_source(uri_, image.path, std::move(image.file)));
        regions_.push_back({std::move(image.name), source->regions().front().size_bytes});
        files_.push_back(std::move(source));
        return {};
    }

    std::string_view description() const override { return uri_; }
    std::span<const RegionInfo> regions() const override { return regions_; }
    std::span<const std::byte> memory(RegionId region) const override {
        return at(region).memory(kOnlyRegion);
    }
    Status population(RegionId region, PageRange range,
                      std::vector<PopulationExtent>& extents) const override {
        return at(region).population(kOnlyRegion, range, extents);
    }
    Status prefault(RegionId region, PageRange range) const override {
        return at(region).prefault(kOnlyRegion, range);
    }
    bool prefers_read(bool holes_too) const override {
        return std::any_of(files_.begin(), files_.end(),
                           [&](const auto& file) { return file->prefers_read(holes_too); });
    }
    Status read(RegionId region, PageRange range, std::byte* to) const override {
        return at(region).read(kOnlyRegion, range, to);
    }
    std::optional<FileIdentity> file_of(RegionId region) const override {
        return at(region).file_of(kOnlyRegion);
    }
    Status check_unchanged() const override {
        for (const auto& file : files_) MIGRATE_TRY(file->check_unchanged());
        return {};
    }
    bool is_constant() const override { return true; }

  private:
    const PageSource& at(RegionId region) const { return *files_[index_of(region)]; }

    std::string uri_;
    std::vector<RegionInfo> regions_;
    std::vector<std::unique_ptr<PageSource>> files_;  // one for each region
};

}  // namespace

Result<std::unique_ptr<PageSource>> make_files_source(std::string_view uri,
                                                      std::vector<RegionImage> images) {
    auto source = std::make_unique<FilesSource>(uri);
    for (RegionImage& image : images) MIGRATE_TRY(source->add(std::move(image)));
    return std::unique_ptr<PageSource>(std::move(source));
}

}  // namespace migrate::memory
