// The QMP commands of a migration, with QEMU's names, units and definitions (qapi/migration.json,
// qapi/run-state.json), over what a session offers.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/config/settings.hpp"
#include "base/error.hpp"
#include "engine/events.hpp"
#include "engine/report.hpp"
#include "qmp/server.hpp"

namespace migrate::cli {

// What the commands act on; every function may be called from the server's thread at any time.
struct QmpTarget {
    std::function<engine::Report()> report;
    std::function<void()> cancel;
    // Of the sender only; empty at the receiver.
    std::function<Status()> continue_switchover;
    std::function<void(const Settings&)> change;
};

std::map<std::string, qmp::Command> qmp_commands(QmpTarget target, const Settings& settings);

// The server that the option qmp asks for, fed with the events from here on; null if it is not set.
Result<std::unique_ptr<qmp::Server>> serve_qmp(const Settings& settings, QmpTarget target,
                                               engine::EventLog& events);

}  // namespace migrate::cli
