// SPDX-License-Identifier: Apache-2.0
// The properties of a simulated device: the words of sim: (kSimulatedWords in
// base/config/form_tables.hpp).
//
// preset=paper makes devices of which 1, 2 and 4 behave like the published ones (downtime in ms,
// 6 channels): one after the other 487, 859, 1900; in parallel 366, 556, 1095. Both rows are nearly
// straight lines,
//     off(n) = 10 + 475 n               485, 960, 1910
//     on(n)  = 112 + 245 n              357, 602, 1092
// and the ratios are 1.36, 1.59 and 1.75; the published ratios are 1.33, 1.55 and 1.74. F is the
// time that a device takes on either host before its first byte. X is the time that its 100 MiB
// take (saving and loading a device overlap in either mode, since its state is a stream). W is the
// time that the single thread of the main channel adds to X. s is the share of all times that only
// one device at a time can have. Then
//     off(n) = 10 + n (2 F + X + W)     the destination begins a device when its first byte is
//                                       there; meanwhile the source waits: its socket is full
//     on(n)  = 12 + (1 - s)(F + X) + n s (F + X)     every device's thread at the destination
//                                       begins at once, when its source begins
// so F + X = 345 and 2 F + X + W = 475. W is about 20 ms on two idle CPUs (up to 125 on busy ones),
// so F = 100 ms and X = 245 ms (408 MiB/s). s would be 245 / 345 = 0.71. But while devices wait for
// one another on one host, the other host loads their chunks, which hides a part of the wait: so
// s = 0.78. The 10 and 12 ms belong to no device: they are the pause, the last round and the frames
// in transit. `migrate bench device-state` measures the resulting times.
//
// preset=ideal is the same device with s = 0.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/config/form.hpp"
#include "base/error.hpp"
#include "base/units.hpp"

namespace migrate::devices {

struct SimulatedSpec {
    std::uint64_t size_bytes = 100 * kMiB;
    std::uint64_t save_rate = 0;  // bytes per second; 0: as fast as memory
    std::uint64_t load_rate = 0;
    std::uint64_t fixed_ms = 0;   // milliseconds before the first chunk, on either host
    unsigned serialised = 0;      // percent of all these times during which one device has the bus
    std::uint64_t seed = 1;       // seed of the content
    std::uint64_t jitter_ms = 0;  // random extra time per chunk, up to this
    std::uint64_t fail_save = 0;  // fails at this byte; 0: never
    std::uint64_t fail_load = 0;

    // Returns the words that parse_simulated() reads.
    std::string text() const;
    friend bool operator==(const SimulatedSpec&, const SimulatedSpec&) = default;
};

// `parsed` has the form sim:.
SimulatedSpec simulated_spec(const ParsedForm& parsed);
// Reads words without sim:NAME, as a peer sends them. kUsage names the word.
Result<SimulatedSpec> parse_simulated(std::string_view words);

}  // namespace migrate::devices
