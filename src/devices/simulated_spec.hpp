// What a simulated device is: the words behind "sim:NAME,".
//
// preset=paper makes devices of which 1, 2 and 4 behave as the published ones (downtime in ms,
// 6 channels): one after the other 487, 859, 1900; side by side 366, 556, 1095. Both rows are
// nearly straight lines,
//     off(n) = 10 + 475 n               485, 960, 1910
//     on(n)  = 112 + 245 n              357, 602, 1092
// and give 1.36, 1.59 and 1.75 for the published 1.33, 1.55 and 1.74. With F the time a device
// takes on either host before its first byte, X the time its 100 MiB take (saving and loading a
// device overlap, as they stream, in either case), W what the main channel's one thread adds to X,
// and s the share of all times that only one device at a time can have:
//     off(n) = 10 + n (2 F + X + W)     the destination begins a device when its first byte is
//                                       there, and holds up the source, whose socket is full
//     on(n)  = 12 + (1 - s)(F + X) + n s (F + X)     every device's thread at the destination
//                                       begins at once, while its source begins
// so F + X = 345 and 2 F + X + W = 475. W is about 20 ms on two quiet CPUs (up to 125 on busy
// ones), which leaves F = 100 ms and X = 245 ms (408 MiB/s). s would be 245 / 345 = 0.71; devices
// that wait for one another on one host have their chunks loaded meanwhile on the other, which
// hides some of it: s = 0.78. The 10 and 12 ms are no device's, but pausing, the last round and the
// frames under way. scripts/measure-devices prints what comes of it.
//
// preset=ideal is the same device with s = 0.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/units.hpp"

namespace migrate::devices {

inline constexpr std::uint64_t kMaxSimulatedBytes = kGiB * 1024;
inline constexpr std::uint64_t kMaxRate = kGiB * 1024;  // bytes a second
inline constexpr std::uint64_t kMaxFixedMs = 600'000;
inline constexpr std::uint64_t kMaxJitterMs = 10'000;

struct SimulatedSpec {
    std::uint64_t size_bytes = 100 * kMiB;
    std::uint64_t save_rate = 0;  // bytes a second; 0: as fast as memory is
    std::uint64_t load_rate = 0;
    std::uint64_t fixed_ms = 0;   // before the first chunk, on either host
    unsigned serialised = 0;      // percent of all these times, that one device at a time has
    std::uint64_t seed = 1;       // of the content
    std::uint64_t jitter_ms = 0;  // up to so much more for a chunk, at random
    std::uint64_t fail_save = 0;  // fails at this byte; 0: does not
    std::uint64_t fail_load = 0;

    // The words that parse_simulated() reads.
    std::string text() const;
    friend bool operator==(const SimulatedSpec&, const SimulatedSpec&) = default;
};

// "size=100M,preset=paper,…" in any order, a later word wins; also of a peer, hence the limits
// above. kUsage names the word.
Result<SimulatedSpec> parse_simulated(std::string_view words);

}  // namespace migrate::devices
