// SPDX-License-Identifier: Apache-2.0
// The network interfaces of this host.
#pragma once

#include <string>

#include "transport/endpoint.hpp"

namespace migrate::transport {

// Name of the interface that has the address of `own`; empty if none has it, or if the system does
// not say.
std::string interface_of(const Endpoint& own);

}  // namespace migrate::transport
