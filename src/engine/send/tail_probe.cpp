// SPDX-License-Identifier: Apache-2.0
#include "engine/send/tail_probe.hpp"

namespace migrate::engine {

void TailProbe::begin(std::uint64_t pages) {
    const std::uint64_t bytes = wanted_ ? tail_bytes(pacer_.rate()) : 0;
    tail_pages_ = static_cast<std::int64_t>(bytes / kPageSize);
    pages_left_.store(static_cast<std::int64_t>(pages), std::memory_order_relaxed);
    if (tail_pages_ != 0 && tail_pages_ >= static_cast<std::int64_t>(pages)) pacer_.begin_burst();
}

void TailProbe::give_up() {
    static_cast<void>(pacer_.end_burst());
    tail_pages_ = 0;
}

// The order of the counts does not matter: exactly one of them takes the rest to the tail.
void TailProbe::count(std::uint64_t pages) {
    if (tail_pages_ == 0) return;
    const auto taken = static_cast<std::int64_t>(pages);
    const std::int64_t before = pages_left_.fetch_sub(taken, std::memory_order_relaxed);
    if (before > tail_pages_ && before - taken <= tail_pages_) pacer_.begin_burst();
}

std::optional<transport::PacerBurst> TailProbe::end() {
    return tail_pages_ == 0 ? std::nullopt : pacer_.end_burst();
}

}  // namespace migrate::engine
