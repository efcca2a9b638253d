// SPDX-License-Identifier: Apache-2.0
// A RunSink made of functions, for tests.
#pragma once

#include <functional>
#include <utility>

#include "engine/send/span_scanner.hpp"

namespace migrate::engine {

class FunctionSink final : public RunSink {
  public:
    using Add = std::function<Status(RegionId, const PageRun&, const std::byte*)>;
    using Release = std::function<Status()>;

    explicit FunctionSink(
        Add add, Release release = [] { return Status(); })
        : add_(std::move(add)), release_(std::move(release)) {}

    Status add(RegionId region, const PageRun& run, const std::byte* content) override {
        return add_(region, run, content);
    }
    Status release() override { return release_(); }

  private:
    Add add_;
    Release release_;
};

}  // namespace migrate::engine
