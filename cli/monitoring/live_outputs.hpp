// SPDX-License-Identifier: Apache-2.0
// Shows a running migration to programs that watch this host: Prometheus, node_exporter, the
// service manager, the journal and `migrate status`. Invariant: no call waits for one of them,
// except connect() and serve() before the migration and finish() after it, which have limits; no
// failure of one of them ends a migration.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "base/config/settings.hpp"
#include "base/error.hpp"
#include "cli/monitoring/host_entries.hpp"
#include "cli/monitoring/journal.hpp"
#include "cli/monitoring/latest_file.hpp"
#include "cli/monitoring/metrics_server.hpp"
#include "cli/output_file.hpp"
#include "cli/service_manager.hpp"
#include "cli/signals.hpp"
#include "engine/report/report.hpp"

namespace migrate::cli {

// Used by the main thread only.
class LiveOutputs {
  public:
    // `settings` must outlive this object.
    explicit LiveOutputs(const Settings& settings) : settings_(settings) {}

    // Connects to the service manager and the journal, and makes the entry for `migrate status`:
    // before the receiver's sandbox, which forbids this. Takes at most a second.
    void connect();
    // The file of metrics-file.
    void write_to(OutputFile metrics);
    // Binds the port of --metrics, unless a signal comes first. kUsage if it cannot be bound.
    Status serve(const Signals& signals);
    // "ADDRESS:PORT" of the metrics; empty if they are not served.
    std::string metrics_endpoint() const;

    // The program is ready; `status` is one line for `systemctl status`.
    // `address` is that on which it listens, or to which it connects.
    void ready(std::string_view status, std::string address);
    // Call it about twice a second with the present figures.
    void update(const engine::Report& report);
    // The run has ended with these figures; `how` is one line for `systemctl status`.
    void finish(const engine::Report& report, std::string_view how);

  private:
    MetricFamilies families(const engine::Report& report) const;
    RunningMigration running(const engine::Report& report) const;

    const Settings& settings_;
    ServiceManager manager_;
    UnixDatagrams journal_;
    std::string address_;  // of ready()
    std::string told_;     // the status that the service manager has
    std::chrono::steady_clock::time_point told_at_{};
    std::shared_ptr<const HostEntry> entry_;  // shared with a write that is left behind
    std::unique_ptr<LatestFile> entry_file_;
    std::unique_ptr<LatestFile> file_;
    std::unique_ptr<MetricsServer> server_;
};

}  // namespace migrate::cli
