// The states of a migration, by QEMU's names (qapi/migration.json, MigrationStatus), and how they
// may follow.
#pragma once

#include <atomic>
#include <string_view>

#include "base/outcome.hpp"

namespace migrate::engine {

enum class MigrationStatus {
    kNone,
    kSetup,
    kActive,
    kPreSwitchover,  // the guest is paused and waits for migrate-continue
    kDevice,         // the guest is paused; its last round and state are on their way
    kCancelling,
    kCancelled,
    kFailed,
    kCompleted
};

std::string_view name_of(MigrationStatus status);
// QEMU's word for how a migration ended; all that is neither done nor cancelled is kFailed.
MigrationStatus final_status_of(Outcome outcome);
// none → setup → active → completed, with a guest active → [pre-switchover →] device → completed;
// cancelling or failed from all of these but none and completed; cancelling → cancelled.
bool may_follow(MigrationStatus from, MigrationStatus to);
inline bool is_final(MigrationStatus status) {
    return status == MigrationStatus::kCancelled || status == MigrationStatus::kFailed ||
           status == MigrationStatus::kCompleted;
}

// The current state; written by the session's main thread, read by any.
class StatusCell {
  public:
    MigrationStatus get() const { return status_.load(std::memory_order_acquire); }
    // An illegal transition is a broken invariant and aborts.
    void advance(MigrationStatus to);

  private:
    std::atomic<MigrationStatus> status_{MigrationStatus::kNone};
};

}  // namespace migrate::engine
