// Putting a QEMU right after a migration that did not end well.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"

namespace migrate::guest {

// Connects to the QMP socket and runs the commands ({"execute": …, "arguments": …} each) in turn;
// one that is refused, since the migration it stands against is only just ending, is tried again
// for up to 10 s. The Error is the first that remained.
Status run_undo_commands(const std::string& qmp_address, const std::vector<std::string>& commands);

}  // namespace migrate::guest
