// Letting a guest of QEMU run again that a migration of ours had stopped. Invariant: `cont` is sent
// only to a guest that our own `stop` holds, while no other client can finish a migration of it: a
// guest that was handed over by another runs there, and must not run here.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "guest/qemu/run_watch.hpp"
#include "qmp/client.hpp"

namespace migrate::guest {

// What we did to a guest; the guardian is given it, too.
struct Held {
    bool stopped = false;   // it ran, and our `stop` ended that
    bool settings = false;  // QEMU's settings of migrations are, or may be, those of our own
    bool saving = false;   // our own `migrate` of its devices was sent, whether or not it was taken
    std::string before{};  // describe_migration() when it was stopped
    std::string saved{};   // … since our own migration ended; empty: not known
};

// Of QEMU's migration, by query-migrate.
struct QemuMigration {
    std::string status;       // "none", "active", "completed", …
    std::string description;  // its figures: the same as long as no other one begins
    std::uint64_t pages = 0;  // of memory that it sent
    std::uint64_t page_size = 0;

    bool in_progress() const;
};
// The stop ends the wait for QEMU's answer, here and below.
Result<QemuMigration> query_migration(qmp::Client& client, const std::stop_token& stop = {});
// QEMU's RunState: "running", "paused", "postmigrate", …
Result<std::string> query_run_state(qmp::Client& client, const std::stop_token& stop = {});

enum class GivenBack {
    kRuns,       // by our doing or by another client's
    kLeft,       // it is paused or ended by another client's doing, and stays here
    kElsewhere,  // another client handed it over
    kMoving,     // another client's migration of it is in progress: ask again once that has ended
};
struct GiveBackResult {
    GivenBack guest = GivenBack::kLeft;
    std::string state;  // QEMU's RunState
};

// `watch`, which observes the client, knows what happened since the `stop`; null: nobody knows. A
// migration that began under our own settings is cancelled: ours, or one that would carry none of
// the guest's memory. `patience` is for its end, and for a `cont` that QEMU refuses since the end
// of a migration is not quite over.
Result<GiveBackResult> give_back(qmp::Client& client, const Held& held, const RunWatch* watch,
                                 std::chrono::milliseconds patience);

// The command that takes back what give_back() sets while it works, should it be cut off.
inline constexpr std::string_view kLowerFence =
    R"({"execute":"migrate-set-capabilities","arguments":{"capabilities":)"
    R"([{"capability":"pause-before-switchover","state":false}]}})";
// Whether that is QEMU's own setting at present, so that it would change nothing of the user's.
Result<bool> fence_is_down(qmp::Client& client, const std::stop_token& stop = {});

}  // namespace migrate::guest
