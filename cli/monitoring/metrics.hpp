// SPDX-License-Identifier: Apache-2.0
// The figures of a migration as Prometheus metrics. Invariants: every value is that of the Report,
// with QEMU's name; times are in seconds and sizes in bytes; a counter never decreases while one
// session runs. docs/metrics.md lists the metrics.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <string_view>
#include <vector>

#include "engine/report/report.hpp"

namespace migrate::cli {

using MetricFamilies = std::vector<prometheus::MetricFamily>;

// `guest` is the value of guest-name; it may be empty.
MetricFamilies metric_families(const engine::Report& report, std::string_view guest);

// The text format of Prometheus, version 0.0.4.
std::string metrics_text(const MetricFamilies& families);

}  // namespace migrate::cli
