// SPDX-License-Identifier: Apache-2.0
// Tells the service manager that started this program how it fares, by the protocol of
// sd_notify(3): datagrams to the unix socket that $NOTIFY_SOCKET names. Nothing waits for the
// manager, and no failure to reach it ends a migration.
#pragma once

#include <string_view>

#include "cli/unix_datagrams.hpp"

namespace migrate::cli {

class ServiceManager {
  public:
    // Call it before the sandbox is complete, which forbids new connections. Without a
    // $NOTIFY_SOCKET, or if it cannot be reached, all calls do nothing; the latter is logged.
    static ServiceManager connect();

    // The service is up; `status` is one line for `systemctl status`.
    void ready(std::string_view status) const;
    // The service runs; `status` is one line for `systemctl status`.
    void status(std::string_view status) const;
    // The service ends; `status` says how.
    void stopping(std::string_view status) const;

  private:
    UnixDatagrams socket_;
};

}  // namespace migrate::cli
