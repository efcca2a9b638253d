// Figures out of the raw results: every number in a table or a chart is one of these, taken from
// what sender and receiver (or QEMU) wrote themselves.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/json.hpp"

namespace migrate::bench {

// Of one run (an entry of "runs") or of published figures (a variant's "published"):
//   total-time, downtime, longest-gap  ms      mbps            decimal Mbit/s
//   transferred-kb, total-kb           KiB     payload, header bytes
//   gb-per-s  guest memory over total time, in units of 2^30 bytes, as published
//   cpu-ms    both processes               send-cpu-ms, recv-cpu-ms  each
//   rounds, throttle (percent), dirty-mib-per-s
// Nothing where the run does not have it.
std::optional<double> figure(const Json& run, std::string_view name);
std::optional<double> published_figure(const Json& published, std::string_view name);

// The figure of every timed run of a variant that succeeded, in the order of the runs.
std::vector<double> series(const Json& scenario, std::string_view variant, std::string_view name);

// Every timed run of a variant that succeeded.
std::vector<const Json*> timed_runs(const Json& scenario, std::string_view variant);

// Name and CPU time in ms of each of the sender's threads, in the order of the published tables.
using ThreadMs = std::vector<std::pair<std::string, double>>;
ThreadMs threads_of_run(const Json& run);
ThreadMs threads_published(const Json& published);

// The sum of whole ms, as the published totals are.
double total_of(const ThreadMs& threads);

// The run whose threads' total is the (lower) median: a column that is one real run; null if none.
const Json* median_run(const Json& scenario, std::string_view variant);

// Whether a run's zero pages were found by the software device, of which no saving is quoted.
bool by_software_device(const Json& run);

}  // namespace migrate::bench
