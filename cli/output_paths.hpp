// The files that a command line names, before any of them is opened. Invariant: after
// check_output_paths() every output is a regular file of its own or does not exist yet, and is no
// other file of the command line.
#pragma once

#include <optional>
#include <string>

#include "base/config/settings.hpp"
#include "base/error.hpp"

namespace migrate::cli {

// Looks at stats, events, port-file, the socket of qmp, a sink and a source that are files,
// devices' streams, the configuration file, and standard output and error where they are files.
// kUsage names the option whose path is a link, a device, a FIFO …, or the two options that name
// one file: by the same path, another path to it, or another of its names. Opens nothing.
Status check_output_paths(const Settings& settings, const std::optional<std::string>& config_path);

}  // namespace migrate::cli
