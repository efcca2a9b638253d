#include "engine/send/live_migration.hpp"

#include <optional>
#include <utility>

#include "engine/send/precopy.hpp"
#include "engine/send/switchover.hpp"

namespace migrate::engine {

Status migrate_live(const SendParts& parts, LiveSource& live) {
    Precopy precopy(parts, live);
    Result<Precopy::Converged> converged = precopy.run();
    while (converged) {
        Switchover switchover(parts, live, converged->next_round, converged->expected_downtime);
        MIGRATE_ASSIGN(std::optional<RoundsLeft> left, switchover.run());
        if (!left) return {};
        converged = precopy.go_on(*std::move(left));
    }
    return std::move(converged).error();
}

}  // namespace migrate::engine
