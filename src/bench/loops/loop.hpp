// SPDX-License-Identifier: Apache-2.0
// `migrate bench --loop WORDS`: runs one bare loop and gives its figures.
#pragma once

#include "base/error.hpp"
#include "bench/baseline_spec.hpp"
#include "bench/json.hpp"

namespace migrate::bench {

// {"loop": WORDS, "bytes", "seconds", "send-cpu-ms", "recv-cpu-ms"}; the CPU time is that of the
// timed part, and both sides' only of the network loop. The process must have no other thread.
// kUsage for a baseline that is no loop, and for one without a size.
Result<Json> run_loop(const BaselineSpec& spec);

}  // namespace migrate::bench
