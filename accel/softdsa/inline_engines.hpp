// SPDX-License-Identifier: Apache-2.0
// Executes descriptors in the thread that submits them, for a device without engine threads.
// Invariant: execute() returns when the descriptor has been executed, and answered unless its
// answer is held; it never waits for another descriptor. A thread that may be interrupted by a
// signal handler that submits to the same device blocks signals meanwhile.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "accel/softdsa/engine.hpp"

namespace migrate::accel::softdsa {

class InlineEngines {
  public:
    explicit InlineEngines(DeviceState& state);

    // `now_ns` is the time of the submission; 0 without timing.
    void execute(std::size_t queue, const dsa::Descriptor& descriptor, std::uint64_t now_ns);

  private:
    struct Slot {
        Slot(DeviceState& state, std::size_t first) : engine(state, first) {}
        std::atomic<bool> used{false};
        Engine engine;
    };
    Slot& acquire();

    Wiring& wiring_;
    std::vector<std::unique_ptr<Slot>> slots_;
};

}  // namespace migrate::accel::softdsa
