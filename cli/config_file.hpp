// SPDX-License-Identifier: Apache-2.0
// Reads settings from JSON and writes them as JSON. nlohmann-json and its exceptions stay inside
// config_file.cpp. Invariant: a file that loads holds only existing options, once each, with
// allowed values, also in the section of the command that is not running.
#pragma once

#include <string>

#include "base/config/settings.hpp"
#include "base/error.hpp"

namespace migrate::cli {

// Sets the options in the file, with Origin::kFile. The file is a JSON object of at most 1 MiB,
// with comments allowed. Option keys at its top level must belong to the side of `settings`; the
// keys of a "send" or "recv" section belong to that command and override the top level. Fails with
// kUsage, naming file and key, or line and column if it is not JSON.
Status load_config_file(const std::string& path, Settings& settings);

// Sets one option, as a flag would, to a value in JSON: "\"lz4\"", "true", "300".
Status set_from_json_text(const std::string& key, const std::string& json, Settings& settings);

// Returns every setting of the side as a JSON object that load_config_file() can read. Fails if a
// text is not UTF-8.
Result<std::string> settings_to_json(const Settings& settings);

}  // namespace migrate::cli
