// SPDX-License-Identifier: Apache-2.0
// Restores a QEMU after a failed migration.
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

// Runs a command ({"execute": …, "arguments": …}). Retries for up to 10 s, or until the stop, if
// QEMU refuses it, because the migration that conflicts with it may just be ending.
Status run_undo_command(qmp::Client& client, const std::string& command,
                        const std::stop_token& stop = {});

// The result of restoring a QEMU.
struct PutRight {
    GiveBackResult guest;  // the result of give_back(); has no meaning if no guest was held
    Status continued;      // an Error if QEMU refused `cont`
    Status commands;       // the first refusal of one of the commands
};

// Connects to the QMP socket, gives the guest back and runs each command in turn. If the connection
// fails or breaks, for example while another client uses the socket, it starts again for as long as
// QEMU exists; it also waits that long for a migration of another client. `stays` waits for QEMU to
// end and returns true if it did not end within that time. An Error if QEMU ended first.
Result<PutRight> put_qemu_right(const std::string& qmp_address, const Held& held,
                                const std::vector<std::string>& commands,
                                const std::function<bool(std::chrono::milliseconds)>& stays);

}  // namespace migrate::guest
