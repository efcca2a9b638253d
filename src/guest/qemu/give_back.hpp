// SPDX-License-Identifier: Apache-2.0
// Resumes a QEMU guest that a migration of ours had stopped. Invariant: `cont` is sent only to a
// guest that our own `stop` holds, while no other client can finish a migration of it: a guest that
// another client handed over runs elsewhere, and must not run here.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "guest/qemu/run_watch.hpp"
#include "qmp/client.hpp"
#include "qmp/message.hpp"

namespace migrate::guest {

// Records our changes to a guest; the guardian receives it, too.
struct Held {
    bool stopped = false;   // the guest ran until our `stop`
    bool settings = false;  // QEMU's migration settings are ours, or may be
    bool saving = false;    // our own `migrate` of its devices was sent; QEMU may have refused it
    std::string before{};   // QemuMigration::description when the guest was stopped
    std::string saved{};    // the same after our own migration ended; empty: not known
};

// QEMU's migration, from query-migrate.
struct QemuMigration {
    std::string status;       // "none", "active", "completed", …
    std::string description;  // its figures; they stay the same until another migration begins
    std::uint64_t pages = 0;  // pages of memory that it sent
    std::uint64_t page_size = 0;
    std::string blocked{};  // the first reason why QEMU would refuse to migrate; empty if none

    bool in_progress() const;
};
// Parse the answers to query-migrate and query-status; the latter gives QEMU's RunState: "running",
// "paused", "postmigrate", … A malformed answer is an Error: no decision about a guest rests on a
// guess.
Result<QemuMigration> parse_migration(const qmp::Json& answer);
Result<std::string> parse_run_state(const qmp::Json& answer);
// Query QEMU.
Result<QemuMigration> query_migration(qmp::Client& client);
Result<std::string> query_run_state(qmp::Client& client);

enum class GivenBack {
    kRuns,       // we or another client resumed it
    kLeft,       // another client paused or ended it; it stays here
    kElsewhere,  // another client handed it over
    kMoving,     // another client's migration of it is in progress; try again after that has ended
};
struct GiveBackResult {
    GivenBack guest = GivenBack::kLeft;
    std::string state;  // QEMU's RunState
};

// `watch` observes the client and knows what happened since `stop`; null if nothing is known. A
// migration that began under our settings is cancelled: it is our own, or one that would carry none
// of the guest's memory. A cancel that QEMU does not complete, whoever sent it, is completed.
// `patience` limits the wait for that migration to end, and the retries of a `cont` that QEMU
// refuses because the end of a migration is not quite finished.
Result<GiveBackResult> give_back(qmp::Client& client, const Held& held, const RunWatch* watch,
                                 std::chrono::milliseconds patience);

// The command that undoes the setting that give_back() makes while it works, in case it is
// interrupted.
inline constexpr std::string_view kLowerFence =
    R"({"execute":"migrate-set-capabilities","arguments":{"capabilities":)"
    R"([{"capability":"pause-before-switchover","state":false}]}})";
// Parses the answer to query-migrate-capabilities: true if the capability is off now, so that
// kLowerFence changes no setting of the user's.
Result<bool> parse_fence_is_down(const qmp::Json& capabilities);

}  // namespace migrate::guest
