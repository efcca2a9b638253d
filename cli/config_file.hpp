// Settings from and to JSON. nlohmann-json and its exceptions stay behind config_file.cpp.
// Invariant: a file that loads holds only options that exist, once each, with values that are
// allowed, also in the section of the command that is not running.
#pragma once

#include <string>

#include "base/config/settings.hpp"
#include "base/error.hpp"

namespace migrate::cli {

// Sets what the file says, with Origin::kFile. The file is a JSON object, comments allowed, of at
// most 1 MiB: option keys at its top level must belong to the side of `settings`; those in a "send"
// or "recv" section may also differ, and win over the top level for their command. Fails with
// kUsage, naming file and key, and line and column where it is no JSON.
Status load_config_file(const std::string& path, Settings& settings);

// Sets one option, as a flag would, to a value in JSON: "\"lz4\"", "true", "300".
Status set_from_json_text(const std::string& key, const std::string& json, Settings& settings);

// Every setting of its side as a JSON object that load_config_file reads back. Fails when a text is
// not UTF-8.
Result<std::string> settings_to_json(const Settings& settings);

}  // namespace migrate::cli
