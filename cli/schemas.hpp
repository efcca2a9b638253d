// SPDX-License-Identifier: Apache-2.0
// The JSON schemas that the program prints ("migrate schema NAME") and installs. Each is made from
// the tables that the program reads or writes with.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "bench/scenario_schema.hpp"
#include "cli/config_schema.hpp"
#include "engine/report/schemas.hpp"

namespace migrate::cli {

struct Schema {
    std::string_view name;
    std::string (*text)();
};

// Installed as share/migrate/NAME.schema.json.
inline constexpr std::array<Schema, 4> kSchemas{
    {{"config", &config_schema},                  // what --config reads
     {"statistics", &engine::statistics_schema},  // what --stats writes
     {"events", &engine::events_schema},          // a line of what --events writes
     {"scenario", &bench::scenario_schema}}};     // what 'migrate bench' reads

}  // namespace migrate::cli
