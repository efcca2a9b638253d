// Putting a QEMU right after a migration that did not end well.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "qmp/client.hpp"

namespace migrate::guest {

// Lets the guest run.
inline constexpr std::string_view kContinue = R"({"execute":"cont"})";

// Runs a command ({"execute": …, "arguments": …}); if it is refused, since the migration it stands
// against is only just ending, again and again for up to 10 s.
Status run_undo_command(qmp::Client& client, const std::string& command);

// Connects to the QMP socket and does so with each command in turn. Where the connection cannot be
// made or breaks, as while somebody else uses the socket, it begins anew for as long as the QEMU
// stays: that waits so long for its end, and says whether it did not come. The Error is the first
// that remained.
Status run_undo_commands(const std::string& qmp_address, const std::vector<std::string>& commands,
                         const std::function<bool(std::chrono::milliseconds)>& stays);

}  // namespace migrate::guest
