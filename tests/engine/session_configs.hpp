// SPDX-License-Identifier: Apache-2.0
// The settings of a test's sessions: loopback, a port of the kernel's choice, and timeouts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/units.hpp"
#include "engine/session_config.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/negotiated.hpp"

namespace migrate::engine {

inline RecvConfig patient_receiver(const std::string& sink = "anon:") {
    RecvConfig config;
    config.listen.push_back({"127.0.0.1", 0});
    config.sink = sink;
    config.listen_timeout = config.handshake_timeout = config.io_timeout = kLong;
    return config;
}

// One path, to this port of this host.
inline std::vector<PathConfig> path_to(std::uint16_t port) {
    return {PathConfig{.route = {"127.0.0.1", port}}};
}

// Without a path.
inline SendConfig patient_sender() {
    SendConfig config;
    config.negotiated =
        negotiated({{"multifd-packet-size", std::to_string(64 * kPageSize)}, {"verify", "digest"}});
    config.connect_timeout = config.handshake_timeout = config.io_timeout = kLong;
    return config;
}

}  // namespace migrate::engine
