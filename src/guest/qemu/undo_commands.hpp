// Putting a QEMU right after a migration that did not end well.
#pragma once

#include <chrono>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "guest/qemu/give_back.hpp"
#include "qmp/client.hpp"

namespace migrate::guest {

// Runs a command ({"execute": …, "arguments": …}); if it is refused, since the migration it stands
// against is only just ending, again and again for up to 10 s, or until the stop.
Status run_undo_command(qmp::Client& client, const std::string& command,
                        const std::stop_token& stop = {});

// What became of a QEMU.
struct PutRight {
    GiveBackResult guest;  // as give_back() says; of no meaning where no guest was held
    Status continued;      // an Error if QEMU refused `cont`
    Status commands;       // the first of the commands that QEMU refused
};

// Connects to the QMP socket, gives the guest back and carries out each command in turn. Where the
// connection cannot be made or breaks, as while somebody else uses the socket, it begins anew for
// as long as the QEMU stays, and a migration of another client is waited for as long: `stays` waits
// so long for the QEMU's end, and says whether it did not come. An Error if QEMU ended before.
Result<PutRight> put_qemu_right(const std::string& qmp_address, const Held& held,
                                const std::vector<std::string>& commands,
                                const std::function<bool(std::chrono::milliseconds)>& stays);

}  // namespace migrate::guest
