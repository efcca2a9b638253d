// SPDX-License-Identifier: Apache-2.0
// A sink that keeps nothing, to measure the sender.
#pragma once

#include "memory/sink/page_sink.hpp"

namespace migrate::memory {

class NullSink final : public PageSink {
  public:
    std::string_view description() const override { return "null:"; }
    Status prepare(std::span<const RegionInfo>) override { return {}; }
    bool discards() const override { return true; }
    std::span<std::byte> memory(RegionId) const override { return {}; }
    Status prefault(RegionId, PageRange) const override { return {}; }
    Status clear(RegionId, PageRange) const override { return {}; }
    Status commit() override { return {}; }
};

}  // namespace migrate::memory
