// SPDX-License-Identifier: Apache-2.0
// Features: names of what a receiver must support to read a sender's stream. PROTOCOL.md lists
// them.
#pragma once

#include <span>
#include <string_view>

#include "base/error.hpp"
#include "transport/message_json.hpp"
#include "transport/offer.hpp"

namespace migrate::transport {

// Every feature that this program has.
std::span<const std::string_view> feature_names();
// Returns the list for the key "features".
MessageJson features_of(const Offer& offer);
// Fails with kProtocol and the name of a feature that this program does not have.
Status check_features(const MessageJson& json);

}  // namespace migrate::transport
