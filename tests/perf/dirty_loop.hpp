// SPDX-License-Identifier: Apache-2.0
// The cost of tracking dirty pages: for the collector, and for the guest that writes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace migrate::perf {

enum class GuestRam { kSmall, kHuge, kMemfd };
std::optional<GuestRam> guest_ram_named(std::string_view name);

struct DirtyLoop {
    std::string tracker = "uffd-wp";
    GuestRam ram = GuestRam::kMemfd;
    std::uint64_t bytes = 0;
    double percent = 1;  // of the pages, at random, written before each collect
    unsigned rounds = 20;
};

struct DirtyFigures {
    double start_ms = 0;
    double collect_median_ms = 0;
    double collect_worst_ms = 0;
    std::uint64_t dirty_pages = 0;  // found by the last of them
    double peek_median_ms = 0;      // peek() at all memory, 2 MiB at a time; 0 without peek()
    double stop_ms = 0;
    // One thread that writes a word of random pages, as fast as it can.
    double writes_per_s_plain = 0;
    double writes_per_s_tracked = 0;  // with a collect every 100 ms
};

// Every page is written before the clock starts.
Result<DirtyFigures> run_dirty_loop(const DirtyLoop& loop);

}  // namespace migrate::perf
