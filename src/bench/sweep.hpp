// SPDX-License-Identifier: Apache-2.0
// Sweeps: one entry of a scenario that stands for many, one for each combination of values.
//   "sweep": {"rate": [100, 200], "seed": {"from": 1, "to": 50}}
//   "draw":  {"pattern": ["uniform", "hot-spot"]}
// "{rate}" in a text of the entry stands for the point's value. A drawn value is chosen by the
// point's own values, as if at random, so that a point is the same in every run.
// Invariant: a key that no text uses is an error.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "bench/json.hpp"

namespace migrate::bench {

inline constexpr std::size_t kMaxSweepPoints = 256;

struct SweepPoint {
    std::string suffix;  // follows the entry's name: "-100-1"; empty without a sweep
    std::vector<std::pair<std::string, std::string>> values;  // swept and drawn, by key
};

// An entry, and the defaults that it begins with, at one point.
struct SweptEntry {
    SweepPoint point;
    Json defaults;
    Json entry;  // without "sweep" and "draw"
};

// The entry at every point, the last key fastest; the entry itself where it has no sweep. Fails
// with kUsage.
Result<std::vector<SweptEntry>> swept(const Json& defaults, const Json& entry);

}  // namespace migrate::bench
