// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/modelled_time.hpp"

#include <algorithm>

namespace migrate::accel::softdsa {

std::size_t ModelledTime::idle_first(EngineSet engines) const noexcept {
    std::size_t first = 0;
    std::uint64_t earliest = UINT64_MAX;
    for (std::size_t i = 0; i < kMostEngines; ++i) {
        const std::uint64_t idle = engine_idle_[i].load();
        if ((engines >> i & 1U) == 0 || idle >= earliest) continue;
        first = i;
        earliest = idle;
    }
    return first;
}

ModelledTime::Span ModelledTime::execute(EngineSet engines, std::uint64_t submitted,
                                         const Service& service) noexcept {
    while (true) {
        std::atomic<std::uint64_t>& engine = engine_idle_[idle_first(engines)];
        std::uint64_t before = engine.load();
        Span span{.begins = std::max(before, submitted)};
        span.ends = span.begins + service.engine;
        if (!engine.compare_exchange_strong(before, span.ends)) continue;
        std::uint64_t transfers = transfer_idle_.load();
        std::uint64_t transferred = 0;
        do {
            transferred = std::max(transfers, span.begins) + service.transfer;
        } while (!transfer_idle_.compare_exchange_weak(transfers, transferred));
        if (transferred <= span.ends) return span;
        // Other engines delay its bytes. This engine may have got another descriptor meanwhile,
        // which is delayed as well.
        engine.fetch_add(transferred - span.ends);
        span.ends = transferred;
        return span;
    }
}

}  // namespace migrate::accel::softdsa
