// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/inline_engines.hpp"

#include <sched.h>

namespace migrate::accel::softdsa {
namespace {

// Threads that can submit at the same time without waiting for one another.
constexpr std::size_t kSlots = 16;

}  // namespace

InlineEngines::InlineEngines(DeviceState& state) : wiring_(*state.wiring) {
    for (std::size_t i = 0; i < kSlots; ++i) slots_.push_back(std::make_unique<Slot>(state, i));
}

InlineEngines::Slot& InlineEngines::acquire() {
    while (true) {
        for (const auto& slot : slots_) {
            if (!slot->used.load(std::memory_order_relaxed) &&
                !slot->used.exchange(true, std::memory_order_acquire))
                return *slot;
        }
        ::sched_yield();
    }
}

void InlineEngines::execute(std::size_t queue, const dsa::Descriptor& descriptor,
                            std::uint64_t now_ns) {
    Slot& slot = acquire();
    slot.engine.execute({descriptor, now_ns, wiring_.queues[queue]->pass()}, queue);
    slot.used.store(false, std::memory_order_release);
}

}  // namespace migrate::accel::softdsa
