// SPDX-License-Identifier: Apache-2.0
#include "engine/send/live_migration.hpp"

#include <optional>
#include <utility>

#include "engine/send/precopy.hpp"
#include "engine/send/switchover.hpp"

namespace migrate::engine {

namespace {

// A lost connection ends the migration from now on, and the guest runs on here, until it is handed
// over: the receiver has removed pages that a further round would take for sent.
Status begin_postcopy(const SendParts& parts, LiveSource& live, std::uint32_t round) {
    MIGRATE_TRY(parts.rounds.begin_switchover(round, RoundSender::OnLoss::kFail));
    MIGRATE_TRY(parts.channels.fail_on_loss());
    parts.control.say("before post-copy");
    return parts.postcopy.begin(parts.link, live, round == 1);
}

}  // namespace

Status migrate_live(const SendParts& parts, LiveSource& live) {
    Precopy precopy(parts, live);
    Result<Precopy::Converged> converged = precopy.run();
    while (converged) {
        if (converged->postcopy) MIGRATE_TRY(begin_postcopy(parts, live, converged->next_round));
        Switchover switchover(parts, live, converged->next_round, converged->expected_downtime);
        MIGRATE_ASSIGN(std::optional<RoundsLeft> left, switchover.run());
        if (!left) return {};
        converged = precopy.go_on(*std::move(left));
    }
    return std::move(converged).error();
}

}  // namespace migrate::engine
