// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/give_back.hpp"

#include <algorithm>
#include <optional>

#include "guest/clock.hpp"
#include "guest/qemu/answer_fields.hpp"
#include "guest/qemu/undo_commands.hpp"

namespace migrate::guest {
namespace {

using qmp::Json;
using std::chrono::milliseconds;

constexpr milliseconds kAnswer{10'000};
constexpr milliseconds kRetry{10};
constexpr const char* kFence = "pause-before-switchover";

Result<Json> ask(qmp::Client& client, std::string_view command,
                 const Json& arguments = Json::object()) {
    return client.execute(command, arguments, kAnswer, {});
}

Error malformed(std::string_view command, const Json& answer) {
    return make_error(ErrorKind::kProtocol, "QEMU's answer to {} is malformed: {}", command,
                      answer.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 80));
}

// Sends a command whose refusal is no error: by then QEMU's migration may have gone on.
Status tell(qmp::Client& client, std::string_view command, const Json& arguments = Json::object()) {
    const auto done = ask(client, command, arguments);
    return done || done.error().kind() == ErrorKind::kPeer ? Status() : done.error();
}

// Completes a cancel that QEMU does not complete by itself. QEMU 7.2 sometimes misses a
// migrate_cancel that arrives while its migration is about to wait in pre-switchover: the migration
// then waits there, in the state 'cancelling', and QEMU refuses `cont`. This command ends that
// wait. It changes nothing for a migration that does not wait.
Status finish_cancel(qmp::Client& client, const QemuMigration& migration) {
    if (migration.status != "cancelling") return {};
    return tell(client, "migrate-continue", {{"state", "cancelling"}});
}

struct Look {
    std::string state;
    QemuMigration migration;
};

Result<Look> look(qmp::Client& client) {
    Look seen;
    MIGRATE_ASSIGN(seen.migration, query_migration(client));
    // Query the run state last: the decision depends on it.
    MIGRATE_ASSIGN(seen.state, query_run_state(client));
    return seen;
}

// Returns true if the migration that ended last is our own migration of the devices. Ours carries
// none of the guest's memory; any other one must carry it.
Result<bool> is_our_own(qmp::Client& client, const QemuMigration& migration, const Held& held) {
    if (!held.saving || migration.description == held.before) return false;
    if (!held.saved.empty()) return migration.description == held.saved;
    MIGRATE_ASSIGN(const Json memory, ask(client, "query-memory-size-summary"));
    const std::uint64_t bytes =
        number_of(memory, "base-memory") + number_of(memory, "plugged-memory");
    return migration.page_size != 0 && migration.pages < bytes / migration.page_size;
}

enum class Verdict { kRuns, kContinue, kWait, kLeave, kElsewhere };

Result<Verdict> judge(qmp::Client& client, const Look& seen, const Held& held,
                      const RunWatch* watch) {
    // Under our settings a migration must not complete, not even one of a guest that runs.
    const bool unsound = held.settings && seen.migration.in_progress();
    if (seen.state == "running" && !unsound) return Verdict::kRuns;
    if (seen.migration.in_progress() || seen.state == "finish-migrate") return Verdict::kWait;
    const bool ours = held.stopped && (watch == nullptr || !watch->ran());
    const bool came_to_nothing =
        seen.migration.status == "failed" || seen.migration.status == "cancelled";
    if (seen.state == "postmigrate") {
        if (came_to_nothing) return ours ? Verdict::kContinue : Verdict::kLeave;
        MIGRATE_ASSIGN(const bool own, is_our_own(client, seen.migration, held));
        if (!own) return Verdict::kElsewhere;
        // Another client let the guest run, and our own migration stopped it again.
        const bool ran_until_ours = watch != nullptr && watch->stopped_by_migration();
        return ours || ran_until_ours ? Verdict::kContinue : Verdict::kLeave;
    }
    if (!ours) return Verdict::kLeave;
    if (seen.state == "paused") return Verdict::kContinue;
    // A paused guest that is reset waits for `cont`; so does a guest that was handed over before.
    if (seen.state != "prelaunch" || watch == nullptr || !watch->was_reset()) {
        return Verdict::kLeave;
    }
    if (came_to_nothing || seen.migration.description == held.before) return Verdict::kContinue;
    MIGRATE_ASSIGN(const bool own, is_our_own(client, seen.migration, held));
    return own ? Verdict::kContinue : Verdict::kElsewhere;
}

// While the fence is up, a migration that another client starts waits before it completes, and QEMU
// then refuses `cont`. So the state that was read before a `cont` is still true when QEMU carries
// it out.
class Fence {
  public:
    explicit Fence(qmp::Client& client) : client_(client) {}

    bool is_up() const { return up_; }

    // kPeer while a migration is in progress. If QEMU keeps refusing, the fence counts as up after
    // kMostRefusals attempts: resuming the guest matters more than the fence.
    Status raise() {
        MIGRATE_ASSIGN(const Json known, ask(client_, "query-migrate-capabilities"));
        MIGRATE_ASSIGN(const bool down, parse_fence_is_down(known));
        Status raised = down ? set(true) : Status();
        if (!raised && (raised.error().kind() != ErrorKind::kPeer || ++refusals_ < kMostRefusals)) {
            return raised;
        }
        raised_ = raised && down;
        up_ = true;
        return {};
    }

    // Lets a migration continue that waits at the fence.
    Status open_for(const QemuMigration& migration) {
        if (!raised_ || migration.status != "pre-switchover") return {};
        return tell(client_, "migrate-continue", {{"state", "pre-switchover"}});
    }

    Status lower(Clock::time_point until) {
        while (raised_) {
            Status lowered = set(false);
            if (lowered) break;
            if (lowered.error().kind() != ErrorKind::kPeer || Clock::now() >= until) return lowered;
            MIGRATE_ASSIGN(const QemuMigration migration, query_migration(client_));
            MIGRATE_TRY(finish_cancel(client_, migration));
            MIGRATE_TRY(open_for(migration));
            MIGRATE_TRY(client_.await_input(kRetry, {}));
        }
        raised_ = false;
        up_ = false;
        return {};
    }

  private:
    Status set(bool on) {
        const auto done = ask(client_, "migrate-set-capabilities",
                              {{"capabilities", {{{"capability", kFence}, {"state", on}}}}});
        return done ? Status() : done.error();
    }

    static constexpr int kMostRefusals = 10;

    qmp::Client& client_;
    int refusals_ = 0;
    bool up_ = false;
    bool raised_ = false;  // true if we raised it
};

// Looks at the guest once and acts on it; returns nothing if the caller must look again later.
// `refused` is QEMU's refusal of `cont`.
Result<std::optional<GiveBackResult>> attempt(qmp::Client& client, const Held& held,
                                              const RunWatch* watch, Fence& fence,
                                              std::optional<Error>& refused) {
    MIGRATE_ASSIGN(const Look seen, look(client));
    MIGRATE_ASSIGN(const Verdict verdict, judge(client, seen, held, watch));
    refused.reset();
    const auto is = [&](GivenBack guest) {
        return std::optional(GiveBackResult{guest, seen.state});
    };
    switch (verdict) {
        case Verdict::kRuns:
            return is(GivenBack::kRuns);
        case Verdict::kLeave:
            return is(GivenBack::kLeft);
        case Verdict::kElsewhere:
            return is(GivenBack::kElsewhere);
        case Verdict::kWait:
            MIGRATE_TRY(finish_cancel(client, seen.migration));
            if (held.settings) {
                MIGRATE_TRY(tell(client, "migrate_cancel"));
            } else {
                MIGRATE_TRY(fence.open_for(seen.migration));
            }
            return std::optional<GiveBackResult>();
        case Verdict::kContinue:
            break;
    }
    if (!fence.is_up()) {
        Status raised = fence.raise();
        // Raising the fence took time, so look again.
        if (raised) return attempt(client, held, watch, fence, refused);
        if (raised.error().kind() != ErrorKind::kPeer) return std::move(raised).error();
        return std::optional<GiveBackResult>();
    }
    auto continued = ask(client, "cont");
    if (continued) return is(GivenBack::kRuns);
    if (continued.error().kind() != ErrorKind::kPeer) return std::move(continued).error();
    refused = std::move(continued).error();
    return std::optional<GiveBackResult>();
}

}  // namespace

bool QemuMigration::in_progress() const {
    return status != "none" && status != "completed" && status != "failed" && status != "cancelled";
}

Result<QemuMigration> query_migration(qmp::Client& client) {
    MIGRATE_ASSIGN(const Json answer, ask(client, "query-migrate"));
    return parse_migration(answer);
}

Result<std::string> query_run_state(qmp::Client& client) {
    MIGRATE_ASSIGN(const Json answer, ask(client, "query-status"));
    return parse_run_state(answer);
}

Result<QemuMigration> parse_migration(const Json& answer) {
    const auto said = answer.find("status");
    if (!answer.is_object() || (said != answer.end() && !said->is_string())) {
        return malformed("query-migrate", answer);
    }
    QemuMigration migration;
    migration.status = text_of(answer, "status");
    // QEMU leaves it out before its first migration.
    if (migration.status.empty()) migration.status = "none";
    const auto member = answer.find("ram");
    const Json ram = member != answer.end() ? *member : Json::object();
    migration.pages = number_of(ram, "normal") + number_of(ram, "duplicate");
    migration.page_size = number_of(ram, "page-size");
    const auto reasons = answer.find("blocked-reasons");
    if (reasons != answer.end() && reasons->is_array() && !reasons->empty()) {
        const Json& first = reasons->front();
        migration.blocked = first.is_string() ? first.get<std::string>() : "?";
    }
    migration.description =
        fmt::format("{} {} {} {} {} {}", migration.status, number_of(answer, "total-time"),
                    number_of(answer, "setup-time"), number_of(ram, "normal"),
                    number_of(ram, "duplicate"), number_of(ram, "dirty-sync-count"));
    return migration;
}

Result<std::string> parse_run_state(const Json& answer) {
    std::string state = text_of(answer, "status");
    if (state.empty()) return malformed("query-status", answer);
    return state;
}

Result<bool> parse_fence_is_down(const Json& known) {
    if (!known.is_array()) return malformed("query-migrate-capabilities", known);
    return std::none_of(known.begin(), known.end(), [](const Json& entry) {
        const auto state = entry.find("state");
        return text_of(entry, "capability") == kFence && state != entry.end() && *state == true;
    });
}

Result<GiveBackResult> give_back(qmp::Client& client, const Held& held, const RunWatch* watch,
                                 milliseconds patience) {
    Fence fence(client);
    const auto until = Clock::now() + patience;
    std::optional<Error> refused;
    std::optional<GiveBackResult> given;
    while (true) {
        MIGRATE_ASSIGN(given, attempt(client, held, watch, fence, refused));
        if (given || Clock::now() >= until) break;
        // QEMU sends no event when the end of a migration is finished; its events come earlier.
        MIGRATE_TRY(client.await_input(kRetry, {}));
        MIGRATE_TRY(client.read_pending());
    }
    MIGRATE_TRY(fence.lower(Clock::now() + kAnswer));
    if (given) return *given;
    if (refused) return *std::move(refused);
    return GiveBackResult{GivenBack::kMoving, {}};
}

}  // namespace migrate::guest
