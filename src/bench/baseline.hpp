// SPDX-License-Identifier: Apache-2.0
// One run of a baseline: iperf3, or a bare loop in a process of its own.
#pragma once

#include <string>

#include "base/error.hpp"
#include "bench/json.hpp"
#include "bench/plan.hpp"
#include "bench/transfer.hpp"

namespace migrate::bench {

// Empty, or why iperf3 cannot run here.
std::string iperf3_missing();

// The baseline's figures under the keys that run_transfer() has for the same figures: "wall-ms",
// "cpu-ms", and of either side time, bytes and threads. Errors as of run_transfer().
Result<Json> run_baseline(const PlannedVariant& planned, const RunPlace& place);

}  // namespace migrate::bench
