// SPDX-License-Identifier: Apache-2.0
// Checks the files that a command line names, before any of them is opened. Invariant: after
// check_output_paths() every output is a regular file of its own or does not exist yet, and no
// other option names the same file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/config/settings.hpp"
#include "base/error.hpp"

namespace migrate::cli {

// Checks stats, events, metrics-file, port-file, the socket of qmp, a sink and a source that are
// files, devices' streams, the configuration file, and standard output and error if they are files.
// kUsage names the option whose path is a link, a device, a FIFO …, or the two options that name
// one file: by the same path, by another path to it, or by another of its names. Opens nothing.
Status check_output_paths(const Settings& settings, const std::optional<std::string>& config_path);

// The paths that a run with these settings creates, replaces, writes or removes, sockets included.
// A device's stream that is given as a descriptor has none.
Result<std::vector<std::string>> written_paths(const Settings& settings);

}  // namespace migrate::cli
