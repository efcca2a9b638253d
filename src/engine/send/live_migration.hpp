// SPDX-License-Identifier: Apache-2.0
// The phases of a live migration: rounds while the guest runs, and the switchover. Invariant: the
// rounds go on after a switchover that broke off because connections were lost.
#pragma once

#include "engine/send/live_source.hpp"
#include "engine/send/send_parts.hpp"

namespace migrate::engine {

// Returns when the guest runs at the receiver.
Status migrate_live(const SendParts& parts, LiveSource& live);

}  // namespace migrate::engine
