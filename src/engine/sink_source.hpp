// SPDX-License-Identifier: Apache-2.0
// The sink that a guest arrived in, as the source of its next migration.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "memory/sink/page_sink.hpp"
#include "memory/sink/populate.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::engine {

// `sink` is complete, hosts a guest, and outlives this object.
class SinkSource final : public memory::PageSource {
  public:
    SinkSource(const memory::PageSink& sink, std::vector<RegionInfo> regions)
        : sink_(sink), regions_(std::move(regions)) {}

    std::string_view description() const override { return sink_.description(); }
    std::span<const RegionInfo> regions() const override { return regions_; }
    std::span<const std::byte> memory(RegionId region) const override {
        return sink_.memory(region);
    }
    Status population(RegionId region, PageRange range,
                      std::vector<memory::PopulationExtent>& extents) const override {
        return sink_.population(region, range, extents);
    }
    bool populated_is_present() const override { return true; }
    Status prefault(RegionId region, PageRange range) const override {
        const auto bytes = sink_.memory(region);
        const int code = memory::populate(bytes.subspan(range.offset_bytes(), range.size_bytes()),
                                          memory::PopulateFor::kReading);
        return code == 0 ? Status() : Status(Error::system("read the guest's memory", code));
    }

  private:
    const memory::PageSink& sink_;
    std::vector<RegionInfo> regions_;
};

}  // namespace migrate::engine
