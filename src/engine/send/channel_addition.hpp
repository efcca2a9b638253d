// SPDX-License-Identifier: Apache-2.0
// Adds data channels to a connection while a round runs: connects them, tells the receiver, and
// admits those that it takes.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "engine/peer_link.hpp"
#include "engine/send/agreement.hpp"
#include "engine/send/paths.hpp"
#include "engine/send/send_channel_group.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"

namespace migrate::engine {

// All outlive the addition.
struct AdditionNeeds {
    const SendConfig& config;
    const Agreement& agreement;
    PeerLink& link;
    SendChannelGroup& channels;
    SessionCore& core;
    Paths& paths;
};

// The result of an addition.
struct Addition {
    bool connected = false;      // false: no connection could be made, for this reason
    std::uint16_t channels = 0;  // all there are now
    std::string reason{};        // why there are fewer than wanted
};

// Adds a channel for each entry of `paths`, which are indices; those of a path follow one another.
// Called by the session's thread between ROUND_START and ROUND_END. An Error ends the session.
Result<Addition> add_channels(const AdditionNeeds& needs, std::span<const std::uint16_t> paths);

}  // namespace migrate::engine
