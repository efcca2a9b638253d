// SPDX-License-Identifier: Apache-2.0
// The report of a sending session, from what it publishes.
#pragma once

#include "engine/report/report.hpp"
#include "engine/send/live_source.hpp"
#include "engine/send/scanner_set.hpp"
#include "engine/send/send_figures.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::engine {

// The parts of a session that any thread may read without a lock.
struct SendFixed {
    const SendConfig& config;
    const memory::PageSource& source;
    const SessionCore& core;
    const ScannerSet& scanners;
    const LiveSource* live;  // null for an image
};

// Called with the lock of `figures` held. Any thread.
Report make_send_report(const SendFixed& fixed, const SendFigures& figures);

}  // namespace migrate::engine
