// SPDX-License-Identifier: Apache-2.0
// The QMP commands of a migration, with QEMU's names, units and definitions (qapi/migration.json,
// qapi/run-state.json), on top of a session's functions.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/config/settings.hpp"
#include "base/error.hpp"
#include "engine/report/events.hpp"
#include "engine/report/report.hpp"
#include "qmp/server.hpp"

namespace migrate::cli {

// The functions that the commands use; the server's thread may call each of them at any time.
struct QmpTarget {
    std::function<engine::Report()> report;
    std::function<void()> cancel;
    // Only at the sender; empty at the receiver.
    std::function<Status()> continue_switchover;
    std::function<void(const Settings&)> change;
    std::function<Status()> start_postcopy{};
};

std::map<std::string, qmp::Command> qmp_commands(QmpTarget target, const Settings& settings);

// Starts the server that the option qmp requests and forwards events to it from now on; null if the
// option is not set.
Result<std::unique_ptr<qmp::Server>> serve_qmp(const Settings& settings, QmpTarget target,
                                               engine::EventLog& events);

}  // namespace migrate::cli
