// SPDX-License-Identifier: Apache-2.0
// Takes figures out of the raw results: every number in a table, a chart or a goal is one of these,
// out of what sender and receiver (or QEMU, or a baseline) wrote themselves.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/json.hpp"

namespace migrate::bench {

// A figure that can be taken out of one run.
struct FigureRow {
    std::string_view name;   // as in a goal
    std::string_view words;  // as in a sentence
    std::string_view unit;   // empty: a plain number
    bool more_is_better;
    std::optional<double> (*of)(const Json& run);  // empty where the run does not have it
};

// All of them; docs/bench.md lists them, too. "gb-per-s" is guest memory over total time in GiB/s.
std::span<const FigureRow> figure_rows();
// Null for an unknown name.
const FigureRow* find_figure(std::string_view name);

// That figure of one run (an entry of "runs"), or of published figures (a variant's "published").
// Empty where there is none.
std::optional<double> figure(const Json& run, std::string_view name);
std::optional<double> published_figure(const Json& published, std::string_view name);

// The number at the end of a path of keys; empty if there is none.
std::optional<double> number_at(const Json& json, std::initializer_list<const char*> keys);

// The figure of every timed run of a variant that succeeded, in the order of the runs.
std::vector<double> series(const Json& scenario, std::string_view variant, std::string_view name);

// Every timed run of a variant that succeeded.
std::vector<const Json*> timed_runs(const Json& scenario, std::string_view variant);

// Name and CPU time in ms of each of the sender's threads, in the order of the published tables.
using ThreadMs = std::vector<std::pair<std::string, double>>;
ThreadMs threads_of_run(const Json& run);
ThreadMs threads_published(const Json& published);

// "QEMU 10.0.2" if a peer ran the variant's timed runs; empty otherwise.
std::string peer_version(const Json& scenario, std::string_view variant);

// The sum of whole ms, as the published totals are.
double total_of(const ThreadMs& threads);

// The run whose threads' total is the (lower) median: a column that is one real run; null if none.
const Json* median_run(const Json& scenario, std::string_view variant);

// True if the software device found the run's zero pages: no saving is quoted for it.
bool by_software_device(const Json& run);

}  // namespace migrate::bench
