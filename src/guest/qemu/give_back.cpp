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
                 const Json& arguments = Json::object(), const std::stop_token& stop = {}) {
    return client.execute(command, arguments, kAnswer, stop);
}

// What decides about a guest is not guessed.
Error malformed(std::string_view command, const Json& answer) {
    return make_error(ErrorKind::kProtocol, "QEMU's answer to {} is malformed: {}", command,
                      answer.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 80));
}

struct Look {
    std::string state;
    QemuMigration migration;
};

Result<Look> look(qmp::Client& client) {
    Look seen;
    MIGRATE_ASSIGN(seen.migration, query_migration(client));
    // Last: it is what the decision hangs on.
    MIGRATE_ASSIGN(seen.state, query_run_state(client));
    return seen;
}

// Whether the migration that ended last is our own of the devices, which carries none of the
// guest's memory, as any other must.
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
    if (seen.state == "running") return Verdict::kRuns;
    if (seen.migration.in_progress() || seen.state == "finish-migrate") return Verdict::kWait;
    const bool ours = held.stopped && (watch == nullptr || !watch->ran());
    const bool came_to_nothing =
        seen.migration.status == "failed" || seen.migration.status == "cancelled";
    if (seen.state == "postmigrate") {
        if (came_to_nothing) return ours ? Verdict::kContinue : Verdict::kLeave;
        MIGRATE_ASSIGN(const bool own, is_our_own(client, seen.migration, held));
        if (!own) return Verdict::kElsewhere;
        // A guest that another client let run, and that our own migration stopped again.
        const bool ran_until_ours = watch != nullptr && watch->stopped_by_migration();
        return ours || ran_until_ours ? Verdict::kContinue : Verdict::kLeave;
    }
    if (!ours) return Verdict::kLeave;
    if (seen.state == "paused") return Verdict::kContinue;
    // A paused guest that is reset waits for `cont`; so does one that was handed over before.
    const bool still_here = seen.migration.description == held.before || came_to_nothing ||
                            (!held.saved.empty() && seen.migration.description == held.saved);
    if (seen.state == "prelaunch" && watch != nullptr && watch->was_reset() && still_here) {
        return Verdict::kContinue;
    }
    return Verdict::kLeave;
}

// While it is up, a migration that another client starts waits before it completes, and QEMU
// refuses `cont` then: what was looked at before a `cont` is still true when QEMU carries it out.
class Fence {
  public:
    explicit Fence(qmp::Client& client) : client_(client) {}

    bool is_up() const { return up_; }

    // kPeer while a migration is in progress. A QEMU that refuses it all the same is asked no more
    // than kMostRefusals times: the guest is worth more than the fence.
    Status raise() {
        MIGRATE_ASSIGN(const bool down, fence_is_down(client_));
        Status raised = down ? set(true) : Status();
        if (!raised && (raised.error().kind() != ErrorKind::kPeer || ++refusals_ < kMostRefusals)) {
            return raised;
        }
        raised_ = raised && down;
        up_ = true;
        return {};
    }

    // Lets a migration through that waits before it.
    Status open_for(const QemuMigration& migration) {
        if (!raised_ || migration.status != "pre-switchover") return {};
        const auto passed = ask(client_, "migrate-continue", {{"state", "pre-switchover"}});
        if (passed || passed.error().kind() == ErrorKind::kPeer) return {};
        return passed.error();
    }

    Status lower(Clock::time_point until) {
        while (raised_) {
            Status lowered = set(false);
            if (lowered) break;
            if (lowered.error().kind() != ErrorKind::kPeer || Clock::now() >= until) return lowered;
            MIGRATE_ASSIGN(const QemuMigration migration, query_migration(client_));
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
    bool raised_ = false;  // by us
};

// It may have ended by now.
Status cancel(qmp::Client& client) {
    const auto done = ask(client, "migrate_cancel");
    return done || done.error().kind() == ErrorKind::kPeer ? Status() : done.error();
}

// One look at the guest and what follows from it; nothing: look again later. `refused` is QEMU's
// word against it.
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
            if (held.settings) {
                MIGRATE_TRY(cancel(client));
            } else {
                MIGRATE_TRY(fence.open_for(seen.migration));
            }
            return std::optional<GiveBackResult>();
        case Verdict::kContinue:
            break;
    }
    if (!fence.is_up()) {
        Status raised = fence.raise();
        // What was seen is old by now.
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

Result<QemuMigration> query_migration(qmp::Client& client, const std::stop_token& stop) {
    MIGRATE_ASSIGN(const Json answer, ask(client, "query-migrate", Json::object(), stop));
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
    migration.description =
        fmt::format("{} {} {} {} {} {}", migration.status, number_of(answer, "total-time"),
                    number_of(answer, "setup-time"), number_of(ram, "normal"),
                    number_of(ram, "duplicate"), number_of(ram, "dirty-sync-count"));
    return migration;
}

Result<std::string> query_run_state(qmp::Client& client, const std::stop_token& stop) {
    MIGRATE_ASSIGN(const Json answer, ask(client, "query-status", Json::object(), stop));
    std::string state = text_of(answer, "status");
    if (state.empty()) return malformed("query-status", answer);
    return state;
}

Result<bool> fence_is_down(qmp::Client& client, const std::stop_token& stop) {
    MIGRATE_ASSIGN(const Json known,
                   ask(client, "query-migrate-capabilities", Json::object(), stop));
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
        // QEMU tells nobody when the end of a migration is all over; what it says comes before.
        MIGRATE_TRY(client.await_input(kRetry, {}));
        MIGRATE_TRY(client.read_pending());
    }
    MIGRATE_TRY(fence.lower(Clock::now() + kAnswer));
    if (given) return *given;
    if (refused) return *std::move(refused);
    return GiveBackResult{GivenBack::kMoving, {}};
}

}  // namespace migrate::guest
