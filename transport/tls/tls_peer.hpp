// SPDX-License-Identifier: Apache-2.0
// The names of an authenticated peer, and the patterns of --tls-authz.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "transport/tls/openssl.hpp"

namespace migrate::transport {

struct PeerNames {
    std::string subject{};  // "CN=host1,O=Example"; or the PSK identity
    std::vector<std::string> dns{};
    std::vector<std::string> uris{};
};

// Names with a NUL or other control characters are left out.
PeerNames names_of(X509* certificate);
// The subject for messages; "?" if it has none.
std::string subject_of(X509* certificate);

// True if there is no pattern, or if one of them matches one of the names as a whole. * stands for
// any text and ? for any character. DNS names are compared without regard to case.
bool is_allowed(const PeerNames& names, std::span<const std::string> patterns);

}  // namespace migrate::transport
