// SPDX-License-Identifier: Apache-2.0
// Serves metrics over HTTP, at /metrics. Invariants: a scrape gets the figures that were published
// last, so it neither touches the session nor waits for it; publish() never waits for a scrape; the
// server's threads have the lowest priority.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/error.hpp"
#include "cli/monitoring/metrics.hpp"
#include "transport/address.hpp"

namespace migrate::cli {

class MetricsServer {
  public:
    // Binds the address and serves from then on, on threads of prometheus-cpp. Port 0 lets the
    // kernel choose. kUsage if the address cannot be bound; the message says why. May wait for a
    // name server, for `longest`. The caller blocks the signals that end a migration.
    static Result<std::unique_ptr<MetricsServer>> create(const transport::Address& address,
                                                         std::chrono::milliseconds longest);
    // Waits at most a second for scrapes that are going on.
    ~MetricsServer();
    MetricsServer(const MetricsServer&) = delete;
    MetricsServer& operator=(const MetricsServer&) = delete;

    // "ADDRESS:PORT", with the actual port.
    const std::string& endpoint() const;
    void publish(MetricFamilies families);

  private:
    struct Impl;
    explicit MetricsServer(std::shared_ptr<Impl> impl);
    std::shared_ptr<Impl> impl_;  // shared with a call that is left behind
};

}  // namespace migrate::cli
