// SPDX-License-Identifier: Apache-2.0
// The JSON schemas (JSON Schema 2020-12) of what a migration writes, made from the tables that
// write it.
#pragma once

#include <cstdint>
#include <string>

namespace migrate::engine {

// "format" of the statistics and of the event MIGRATION_BEGIN. They are raised when a member or an
// event changes its meaning or its type, or goes; new ones do not raise them.
inline constexpr unsigned kStatisticsFormat = 1;
inline constexpr std::uint64_t kEventsFormat = 1;

// The schema of a file of --stats: one report, or with repeat the list of one report per leg.
std::string statistics_schema();
// The schema of one line of a file of --events.
std::string events_schema();

}  // namespace migrate::engine
