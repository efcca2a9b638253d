// SPDX-License-Identifier: Apache-2.0
// The Error for a message that violates the protocol.
#pragma once

#include <string>
#include <utility>

#include "base/error.hpp"

namespace migrate::transport {

inline Error protocol_error(std::string message) {
    return Error(ErrorKind::kProtocol, std::move(message));
}

}  // namespace migrate::transport
