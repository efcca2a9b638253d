// The settings of a test's sessions: loopback, a port of the kernel's choice, and timeouts.
#pragma once

#include <string>

#include "base/units.hpp"
#include "engine/session_config.hpp"
#include "tests/support/long_wait.hpp"
#include "tests/support/negotiated.hpp"

namespace migrate::engine {

inline RecvConfig patient_receiver(const std::string& sink = "anon:") {
    RecvConfig config;
    config.listen = {"127.0.0.1", 0};
    config.sink = sink;
    config.listen_timeout = config.handshake_timeout = config.io_timeout = kLong;
    return config;
}

// Without an address to connect to.
inline SendConfig patient_sender() {
    SendConfig config;
    config.negotiated =
        negotiated({{"multifd-packet-size", std::to_string(64 * kPageSize)}, {"verify", "digest"}});
    config.connect_timeout = config.handshake_timeout = config.io_timeout = kLong;
    return config;
}

}  // namespace migrate::engine
