// SPDX-License-Identifier: Apache-2.0
// A sink that keeps each region in a sparse file of its own, and knows the digest of each. The
// files are written and not mapped. Their maker names them, removes them after a failure, and calls
// sync().
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "memory/digest.hpp"
#include "memory/sink/page_sink.hpp"
#include "memory/sink/region_file.hpp"

namespace migrate::memory {

// An empty file, open for reading and writing, and its path for messages.
struct NewFile {
    UniqueFd file;
    std::string path;
};
// Makes the file of the region with this number.
using MakeRegionFile = std::function<Result<NewFile>(std::size_t region)>;

class FilesSink final : public PageSink {
  public:
    FilesSink(std::string_view uri, MakeRegionFile make) : uri_(uri), make_(std::move(make)) {}

    std::string_view description() const override { return uri_; }
    void obey(std::stop_token stop) override { stop_ = std::move(stop); }
    Status prepare(std::span<const RegionInfo> regions) override;
    bool discards() const override { return false; }
    bool is_mapped(RegionId) const override { return false; }
    std::span<std::byte> memory(RegionId) const override { return {}; }
    Status write(RegionId region, PageRange range,
                 std::span<const std::byte> content) const override {
        return at(region).write(range, content);
    }
    Status read(RegionId region, PageRange range, std::span<std::byte> to) const override {
        return at(region).read(range, to);
    }
    Status prefault(RegionId, PageRange) const override { return {}; }
    Status clear(RegionId region, PageRange range) const override {
        return at(region).clear(range);
    }
    Status population(RegionId region, PageRange range,
                      std::vector<PopulationExtent>& extents) const override {
        return at(region).population(range, extents);
    }
    Status flush() const override;
    // Called after sync(): nothing is left to be done.
    Status commit() override { return {}; }

    // Waits until the region's file is on the disk. Thread-safe.
    Status sync(RegionId region) const { return at(region).sync(); }
    std::span<const RegionInfo> regions() const { return regions_; }
    // One for each region, in order; no page is written meanwhile.
    std::vector<Digest> digests() const;

  private:
    const RegionFile& at(RegionId region) const { return files_[index_of(region)]; }

    std::string uri_;
    MakeRegionFile make_;
    std::stop_token stop_;
    std::vector<RegionInfo> regions_;
    std::vector<RegionFile> files_;
};

}  // namespace migrate::memory
