// SPDX-License-Identifier: Apache-2.0
// The report in Markdown.
#pragma once

#include <string>

#include "bench/json.hpp"
#include "bench/tables.hpp"

namespace migrate::bench {

std::string markdown_report(const Json& results);
std::string markdown_table(const Table& table);

}  // namespace migrate::bench
