// SPDX-License-Identifier: Apache-2.0
// The result of a scenario, in one ratio and one sentence, for the head of the report.
#pragma once

#include <string>

#include "bench/json.hpp"

namespace migrate::bench {

enum class Tone { kBetter, kWorse, kNeutral };

struct Headline {
    std::string ratio;  // "0.71 ×"; empty if there is nothing to compare
    std::string sentence;
    Tone tone = Tone::kNeutral;
};

// `scenario`: its entry in results.json. The comparison is the first of these that the results
// have: with QEMU, the pair in which migrate does worst; a goal, a missed one before the others;
// with published figures; the extremes among the variants.
Headline headline_of(const Json& scenario);

// A sentence that says that the results are of a quick or a scaled run; empty for a full run.
std::string mode_warning(const Json& results);

}  // namespace migrate::bench
