#include "guest/qemu/undo_commands.hpp"

#include <chrono>
#include <thread>

#include "qmp/client.hpp"

namespace migrate::guest {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kPatience{10'000};
constexpr milliseconds kRetry{10};

Status run(qmp::Client& client, const std::string& text) {
    const qmp::Json command = qmp::Json::parse(text, nullptr, false);
    const auto until = Clock::now() + kPatience;
    while (true) {
        auto done = client.execute(command["execute"].get<std::string>(),
                                   command.value("arguments", qmp::Json::object()), kPatience, {});
        if (done) return {};
        if (done.error().kind() != ErrorKind::kPeer || Clock::now() >= until) {
            return std::move(done).error();
        }
        // QEMU tells nobody when the end of a migration is all over.
        std::this_thread::sleep_for(kRetry);
    }
}

}  // namespace

Status run_undo_commands(const std::string& qmp_address, const std::vector<std::string>& commands) {
    MIGRATE_ASSIGN(const auto client, qmp::Client::connect(qmp_address, kPatience, {}));
    Status first;
    for (const std::string& command : commands) {
        Status status = run(*client, command);
        if (!status && first) first = std::move(status);
    }
    return first;
}

}  // namespace migrate::guest
