// SPDX-License-Identifier: Apache-2.0
// The sender's machine in an offer. Invariant: what was read keeps the limits of machine_part.hpp.
#pragma once

#include <vector>

#include "base/error.hpp"
#include "base/machine_part.hpp"
#include "transport/message_json.hpp"

namespace migrate::transport {

MessageJson machine_json(const std::vector<MachinePart>& machine);
// Reads the key "machine" of an offer; empty if the sender does not describe its machine.
Result<std::vector<MachinePart>> machine_from(const MessageJson& offer);

}  // namespace migrate::transport
