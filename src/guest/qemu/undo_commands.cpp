#include "guest/qemu/undo_commands.hpp"

#include <chrono>

#include "guest/clock.hpp"

namespace migrate::guest {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{10'000};
constexpr milliseconds kRetry{10};
constexpr milliseconds kReconnect{100};

// All of them, on one connection. kPeer if one was refused, and the others were carried out.
Status run_all(const std::string& qmp_address, const std::vector<std::string>& commands) {
    MIGRATE_ASSIGN(const auto client, qmp::Client::connect(qmp_address, kPatience, {}));
    Status first;
    for (const std::string& command : commands) {
        Status status = run_undo_command(*client, command);
        if (!status && status.error().kind() != ErrorKind::kPeer) return status;
        if (!status && first) first = std::move(status);
    }
    return first;
}

}  // namespace

Status run_undo_command(qmp::Client& client, const std::string& command) {
    const qmp::Json parsed = qmp::Json::parse(command, nullptr, false);
    const auto until = Clock::now() + kPatience;
    while (true) {
        auto done = client.execute(parsed["execute"].get<std::string>(),
                                   parsed.value("arguments", qmp::Json::object()), kPatience, {});
        if (done) return {};
        if (done.error().kind() != ErrorKind::kPeer || Clock::now() >= until) {
            return std::move(done).error();
        }
        // QEMU tells nobody when the end of a migration is all over; what it does say comes before.
        MIGRATE_TRY(client.await_input(kRetry, {}));
    }
}

Status run_undo_commands(const std::string& qmp_address, const std::vector<std::string>& commands,
                         const std::function<bool(milliseconds)>& stays) {
    while (true) {
        Status status = run_all(qmp_address, commands);
        if (status || status.error().kind() == ErrorKind::kPeer || !stays(kReconnect)) {
            return status;
        }
    }
}

}  // namespace migrate::guest
