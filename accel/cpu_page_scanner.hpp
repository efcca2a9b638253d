// SPDX-License-Identifier: Apache-2.0
// The page scanner that answers on the calling thread's CPU. Invariant: submit() only stores the
// batch; collect() reads every page once, with the given kernel.
#pragma once

#include <array>
#include <vector>

#include "accel/page_scanner.hpp"
#include "accel/zero_kernel.hpp"

namespace migrate::accel {

class CpuPageScanner final : public PageScanner {
  public:
    // `kernel` runs on this CPU and outlives the scanner.
    explicit CpuPageScanner(const ZeroKernel& kernel) : kernel_(kernel) {}

    std::string_view name() const override { return kernel_.name; }
    std::size_t depth() const override { return kDepth; }
    void submit(std::span<const PageExtent> batch) override;
    Status await() override { return {}; }
    Status collect(std::span<std::uint64_t> zero_map) override;

  private:
    static constexpr std::size_t kDepth = 4;

    const ZeroKernel& kernel_;
    // A ring whose vectors keep their memory, so that a steady stream of batches allocates nothing.
    std::array<std::vector<PageExtent>, kDepth> batches_;
    std::size_t oldest_ = 0;
    std::size_t waiting_ = 0;
};

}  // namespace migrate::accel
