// SPDX-License-Identifier: Apache-2.0
// Parses unix:PATH as users write it.
#pragma once

#include <sys/un.h>

#include <string_view>

#include "base/error.hpp"

namespace migrate::qmp {

// kUsage for any other text: another transport, options after a comma as QEMU takes them, or a path
// that does not fit a socket address (107 bytes, unix(7)).
Result<sockaddr_un> parse_unix_address(std::string_view text);

}  // namespace migrate::qmp
