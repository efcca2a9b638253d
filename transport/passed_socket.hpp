// SPDX-License-Identifier: Apache-2.0
// The listening socket that a service manager opened before it started this program
// (sd_listen_fds(3), "Socket Activation"): systemd, inetd's successors and container runtimes.
#pragma once

#include "base/error.hpp"
#include "base/fd.hpp"

namespace migrate::transport {

// Returns the only socket that was passed: $LISTEN_PID names this process, $LISTEN_FDS is 1, and
// descriptor 3 is a TCP socket that listens. It can be taken once. kUsage if there is none, if
// there are several, or if it is another kind of socket; the message names the unit's setting.
Result<UniqueFd> take_passed_socket();

}  // namespace migrate::transport
