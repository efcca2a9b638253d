// SPDX-License-Identifier: Apache-2.0
// Statistics of a series of figures.
#pragma once

#include <vector>

namespace migrate::bench {

// The value below which `percent` (0 … 100) of the values lie, between two of them by their
// distance; 0 of no values.
double percentile(std::vector<double> values, double percent);
inline double median(std::vector<double> values) { return percentile(std::move(values), 50); }

// The saving of `now` against `before`, in percent; negative where it takes more. 0 if `before` is
// 0.
double savings_percent(double before, double now);

}  // namespace migrate::bench
