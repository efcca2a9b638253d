// SPDX-License-Identifier: Apache-2.0
// A sink in ordinary memory that remembers what was asked of it, and fails where a test wants it
// to.
#pragma once

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>
#include <vector>

#include "base/fd.hpp"
#include "memory/anon_mapping.hpp"
#include "memory/sink/page_sink.hpp"

namespace migrate::memory {

class RecordingSink final : public PageSink {
  public:
    std::string_view description() const override { return "recording:"; }
    Status prepare(std::span<const RegionInfo> regions) override {
        for (const RegionInfo& region : regions) {
            MIGRATE_ASSIGN(Mapping mapping,
                           map_anonymous(region.size_bytes, HugePages::kOff, "test"));
            mappings_.push_back(std::move(mapping));
        }
        return {};
    }
    bool discards() const override { return false; }
    std::span<std::byte> memory(RegionId region) const override {
        return mappings_[index_of(region)].bytes();
    }
    Status prefault(RegionId, PageRange range) const override {
        const std::scoped_lock lock(mutex_);
        prefaulted_.push_back(range);
        if (fail_at_ && range.first <= *fail_at_ && *fail_at_ < range.end()) {
            return make_error("no room for page {}", *fail_at_);
        }
        return {};
    }
    Status clear(RegionId region, PageRange range) const override {
        std::memset(memory(region).data() + range.offset_bytes(), 0, range.size_bytes());
        const std::scoped_lock lock(mutex_);
        cleared_.push_back(range);
        return {};
    }
    Status commit() override { return {}; }

    void fail_at(std::uint64_t page) { fail_at_ = page; }
    // In order of pages; the record begins anew.
    std::vector<PageRange> take_prefaulted() const { return take(prefaulted_); }
    std::vector<PageRange> take_cleared() const { return take(cleared_); }

  private:
    std::vector<PageRange> take(std::vector<PageRange>& record) const {
        const std::scoped_lock lock(mutex_);
        std::vector<PageRange> taken = std::exchange(record, {});
        std::sort(taken.begin(), taken.end(), [](auto& a, auto& b) { return a.first < b.first; });
        return taken;
    }

    std::vector<Mapping> mappings_;
    std::optional<std::uint64_t> fail_at_;
    mutable std::mutex mutex_;
    mutable std::vector<PageRange> prefaulted_;  // guarded by mutex_
    mutable std::vector<PageRange> cleared_;     // guarded by mutex_
};

}  // namespace migrate::memory
