// SPDX-License-Identifier: Apache-2.0
// The JSON schema of scenarios, made from the tables that their parser uses.
#pragma once

#include <string>

namespace migrate::bench {

// It accepts every scenario that the bench accepts, and refuses unknown keys, options that a
// command does not have, wrong types, unknown words and counts out of range. It does not look into
// texts: sizes, times, sources and the names in goals.
std::string scenario_schema();

}  // namespace migrate::bench
