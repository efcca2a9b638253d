// SPDX-License-Identifier: Apache-2.0
// The JSON schema of configuration files, made from the option table, so that editors and scripts
// check what --config reads.
#pragma once

#include <string>

namespace migrate::cli {

// A schema of JSON Schema 2020-12. It accepts every file that --config of either command accepts,
// and refuses unknown keys, keys in the wrong section, wrong types, unknown words and numbers out
// of range. It does not look into texts with a unit ("200M") or with a form ("file:PATH"), and
// allows one command's options beside "send" and "recv", where the other command refuses them.
std::string config_schema();

}  // namespace migrate::cli
