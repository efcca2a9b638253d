// SPDX-License-Identifier: Apache-2.0
#include "engine/report/migration_status.hpp"

#include <cstdlib>

namespace migrate::engine {

MigrationStatus final_status_of(Outcome outcome) {
    switch (outcome) {
        case Outcome::kCompleted:
            return MigrationStatus::kCompleted;
        case Outcome::kCancelled:
            return MigrationStatus::kCancelled;
        case Outcome::kFailed:
        case Outcome::kUsage:
        case Outcome::kRefused:
        case Outcome::kNotConverged:
        case Outcome::kOwnerUnknown:
        case Outcome::kGoalMissed:
            break;
    }
    return MigrationStatus::kFailed;
}

bool may_follow(MigrationStatus from, MigrationStatus to) {
    const bool in_progress =
        from != MigrationStatus::kNone && !is_final(from) && from != MigrationStatus::kCancelling;
    switch (to) {
        case MigrationStatus::kNone:
            return false;
        case MigrationStatus::kSetup:
            return from == MigrationStatus::kNone;
        case MigrationStatus::kActive:
            return from == MigrationStatus::kSetup || from == MigrationStatus::kPreSwitchover ||
                   from == MigrationStatus::kDevice;
        case MigrationStatus::kPreSwitchover:
            return from == MigrationStatus::kActive;
        case MigrationStatus::kDevice:
            return from == MigrationStatus::kActive || from == MigrationStatus::kPreSwitchover;
        case MigrationStatus::kCompleted:
            return from == MigrationStatus::kActive || from == MigrationStatus::kDevice ||
                   is_postcopy(from);
        case MigrationStatus::kPostcopyActive:
        case MigrationStatus::kPostcopyPaused:
            return from == MigrationStatus::kActive || from == MigrationStatus::kDevice ||
                   (is_postcopy(from) && from != to);
        case MigrationStatus::kPostcopyRecover:
            return is_postcopy(from) && from != to;
        case MigrationStatus::kCancelling:
        case MigrationStatus::kFailed:
            return in_progress;
        case MigrationStatus::kCancelled:
            return from == MigrationStatus::kCancelling;
    }
    return false;
}

void StatusCell::advance(MigrationStatus to) {
    if (!may_follow(get(), to)) std::abort();
    status_.store(to, std::memory_order_release);
}

}  // namespace migrate::engine
