// SPDX-License-Identifier: Apache-2.0
// A sink whose regions lie in files or memfds: all that depends only on them.
#pragma once

#include <utility>
#include <vector>

#include "memory/shared_backing.hpp"
#include "memory/sink/page_sink.hpp"

namespace migrate::memory {

class BackedSink : public PageSink {
  public:
    bool discards() const override { return false; }
    std::span<std::byte> memory(RegionId region) const override { return at(region).bytes(); }
    BackingKind kind(RegionId region) const override { return at(region).kind(); }
    Error explain(RegionId region, PageRange range, int code) const override {
        return at(region).explain(range, code);
    }
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

  protected:
    // Called by prepare() for each region, in the sender's order.
    void add(SharedBacking backing) { backings_.push_back(std::move(backing)); }
    const std::vector<SharedBacking>& backings() const { return backings_; }
    // An Error if a file became shorter than its region. commit() calls it.
    Status check_sizes() const {
        for (const SharedBacking& backing : backings_) MIGRATE_TRY(backing.check_size());
        return {};
    }
    const SharedBacking& at(RegionId region) const { return backings_[index_of(region)]; }

  private:
    std::vector<SharedBacking> backings_;
};

}  // namespace migrate::memory
