// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/undo_commands.hpp"

#include <chrono>
#include <optional>
#include <utility>

#include "guest/clock.hpp"

namespace migrate::guest {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{10'000};
constexpr milliseconds kRetry{10};
constexpr milliseconds kReconnect{100};
// Interval between two checks of another client's migration, which may take hours.
constexpr milliseconds kLookAgain{1000};

// Gives the guest back and runs all commands on one connection; returns nothing if another client
// migrates the guest.
Result<std::optional<PutRight>> attempt(const std::string& qmp_address, const Held& held,
                                        const std::vector<std::string>& commands) {
    MIGRATE_ASSIGN(const auto client, qmp::Client::connect(qmp_address, kPatience, {}));
    PutRight done;
    // Under our settings another client's migration would carry no memory: give_back() cancels it,
    // also where another client had paused the guest.
    if (held.stopped || held.settings) {
        const auto given = give_back(*client, held, nullptr, kPatience);
        if (!given && given.error().kind() != ErrorKind::kPeer) return given.error();
        if (given && given->guest == GivenBack::kMoving) return std::optional<PutRight>();
        if (given) {
            done.guest = *given;
        } else {
            done.continued = given.error();
        }
    }
    for (const std::string& command : commands) {
        Status status = run_undo_command(*client, command);
        if (!status && status.error().kind() != ErrorKind::kPeer) return std::move(status).error();
        if (!status && done.commands) done.commands = std::move(status);
    }
    return std::optional(std::move(done));
}

}  // namespace

Status run_undo_command(qmp::Client& client, const std::string& command,
                        const std::stop_token& stop) {
    const qmp::Json parsed = qmp::Json::parse(command, nullptr, false);
    const auto until = Clock::now() + kPatience;
    while (true) {
        auto done = client.execute(parsed["execute"].get<std::string>(),
                                   parsed.value("arguments", qmp::Json::object()), kPatience, stop);
        if (done) return {};
        // QEMU has dropped the descriptor by itself, as it does when nobody is connected.
        if (done.error().kind() == ErrorKind::kPeer && parsed["execute"] == "remove-fd") return {};
        if (done.error().kind() != ErrorKind::kPeer || Clock::now() >= until) {
            return std::move(done).error();
        }
        // QEMU sends no event when the end of a migration is finished; its events come earlier.
        MIGRATE_TRY(client.await_input(kRetry, stop));
        MIGRATE_TRY(client.read_pending());
    }
}

Result<PutRight> put_qemu_right(const std::string& qmp_address, const Held& held,
                                const std::vector<std::string>& commands,
                                const std::function<bool(milliseconds)>& stays) {
    while (true) {
        auto done = attempt(qmp_address, held, commands);
        if (done && *done) return **std::move(done);
        // A refusal by QEMU is final: it would refuse again.
        if (!done && done.error().kind() == ErrorKind::kPeer) return std::move(done).error();
        if (stays(done ? kLookAgain : kReconnect)) continue;
        return done ? Error("QEMU ended") : std::move(done).error();
    }
}

}  // namespace migrate::guest
