// SPDX-License-Identifier: Apache-2.0
// When a modelled device executes its descriptors, for all processes that share it. Invariants: an
// engine executes one descriptor at a time; all engines together transfer no more bytes than the
// device can. Memory of zeros is a device that is idle. All functions are async-signal-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "accel/softdsa/device_config.hpp"

namespace migrate::accel::softdsa {

// Bit e is set if engine e belongs to it.
using EngineSet = std::uint32_t;
static_assert(kMostEngines <= 32);

// Modelled time of a descriptor, in ns.
struct Service {
    std::uint64_t engine = 0;    // in which it occupies an engine
    std::uint64_t transfer = 0;  // in which its bytes occupy the device; not above `engine`
};

class ModelledTime {
  public:
    // CLOCK_MONOTONIC in ns.
    struct Span {
        std::uint64_t begins = 0;
        std::uint64_t ends = 0;
    };
    // Gives a descriptor to that one of `engines` which is idle first, and returns when it is
    // executed, `submitted` or later.
    Span execute(EngineSet engines, std::uint64_t submitted, const Service& service) noexcept;

  private:
    std::size_t idle_first(EngineSet engines) const noexcept;

    std::array<std::atomic<std::uint64_t>, kMostEngines> engine_idle_{};  // idle from then on
    std::atomic<std::uint64_t> transfer_idle_{0};
};

}  // namespace migrate::accel::softdsa
