// SPDX-License-Identifier: Apache-2.0
// The certificates of --tls-creds x509:DIR, under QEMU's names.
#pragma once

#include <string>

#include "transport/tls/tls_context.hpp"

namespace migrate::transport {

// Reads the folder's files for `role` into `context`, which has its SSL context already. Adds
// warnings for an own certificate that is not valid now. kUsage names the file and the fault.
Status load_x509(const std::string& folder, TlsRole role, TlsContext& context);

}  // namespace migrate::transport
