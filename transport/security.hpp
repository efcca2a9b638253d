// SPDX-License-Identifier: Apache-2.0
// The protection of a migration's connections: none, or TLS. Invariant: plaintext leaves this host
// only if the user asked for it by name.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/config/settings.hpp"
#include "base/error.hpp"
#include "transport/address.hpp"

namespace migrate::transport {

class TlsEndpoint;

// The protection that the options ask for.
struct Security {
    std::shared_ptr<TlsEndpoint> tls{};  // null: plaintext
    bool plaintext_to_any_host = false;
    // tls-creds, tls-hostname and tls-authz as far as they are set, and what confines a receiver,
    // for the report.
    std::vector<std::pair<std::string, std::string>> options{};

    // Removes the file of a one-time key (psk:new=).
    void session_ended() const;
};

// Reads tls-creds, tls-hostname and tls-authz, which passed validate(), and the files that they
// name: those of a receiver for Side::kRecv, those of a sender for Side::kSend, and both with
// repeat. Makes a one-time key. May wait for a file system. Fails with kUsage.
Result<Security> make_security(const Settings& settings);

// Fails with kUsage if `address` is numeric and reachable from other hosts, and the connections
// would be plaintext although the user did not ask for that. A name is checked when it is resolved.
Status check_reach(const Security& security, const Address& address);

}  // namespace migrate::transport
