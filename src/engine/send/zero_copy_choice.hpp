// SPDX-License-Identifier: Apache-2.0
// Decides whether the channels of a connection send memory without copying it (zero-copy-send).
#pragma once

#include <string>
#include <vector>

#include "base/config/choices.hpp"

namespace migrate::engine {

// The facts that are known before the first packet.
struct ZeroCopyFacts {
    bool peer_is_local = false;  // the receiver has an address of this host
    bool sends_copies = false;   // the dirty tracker needs a copy of what is sent
    bool needs_copies = false;   // a checksum of what a running guest may change needs a copy
    std::vector<bool> in_place;  // by region: its pages are sent from where they are
    std::string refused;         // why the connection cannot; empty if it can
};

struct ZeroCopyChoice {
    bool used = false;
    std::string reason;  // why not, for people; empty if it is used
};

ZeroCopyChoice choose_zero_copy(AutoOnOff option, const ZeroCopyFacts& facts);

}  // namespace migrate::engine
