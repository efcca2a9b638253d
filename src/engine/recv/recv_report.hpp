// SPDX-License-Identifier: Apache-2.0
// The report of a receiving session, from what it publishes.
#pragma once

#include "engine/recv/recv_figures.hpp"
#include "engine/report/report.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"

namespace migrate::engine {

// Called with the lock of `figures` held. Any thread.
Report make_recv_report(const RecvConfig& config, const SessionCore& core,
                        const RecvFigures& figures);

}  // namespace migrate::engine
