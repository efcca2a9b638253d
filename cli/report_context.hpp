// SPDX-License-Identifier: Apache-2.0
// Adds to a session's report what only the command knows.
#pragma once

#include <string>

#include "base/config/settings.hpp"
#include "engine/report/report.hpp"

namespace migrate::cli {

// Name of this host when it was first asked for; empty if it has none. A confined receiver cannot
// ask the kernel any more.
const std::string& own_host_name();

// Sets the names of the hosts, and adds all options of the command to the settings: what the
// session reports of them wins.
void add_context(engine::Report& report, const Settings& settings);

}  // namespace migrate::cli
