// SPDX-License-Identifier: Apache-2.0
// The states of a migration, with QEMU's names (qapi/migration.json, MigrationStatus), and the
// allowed transitions.
#pragma once

#include <atomic>

#include "base/enum_names.hpp"
#include "base/outcome.hpp"

namespace migrate::engine {

enum class MigrationStatus {
    kNone,
    kSetup,
    kActive,
    kPreSwitchover,    // the guest is paused; migrate-continue is awaited
    kDevice,           // the guest is paused; its last round and state are in transit
    kPostcopyActive,   // the guest runs at the receiver, and the rest of its pages is sent
    kPostcopyPaused,   // the same, but the connections were lost
    kPostcopyRecover,  // they are there again
    kCancelling,
    kCancelled,
    kFailed,
    kCompleted
};

constexpr auto enum_names(MigrationStatus) {
    return names_of_enum<MigrationStatus>({{MigrationStatus::kNone, "none"},
                                           {MigrationStatus::kSetup, "setup"},
                                           {MigrationStatus::kActive, "active"},
                                           {MigrationStatus::kPreSwitchover, "pre-switchover"},
                                           {MigrationStatus::kDevice, "device"},
                                           {MigrationStatus::kPostcopyActive, "postcopy-active"},
                                           {MigrationStatus::kPostcopyPaused, "postcopy-paused"},
                                           {MigrationStatus::kPostcopyRecover, "postcopy-recover"},
                                           {MigrationStatus::kCancelling, "cancelling"},
                                           {MigrationStatus::kCancelled, "cancelled"},
                                           {MigrationStatus::kFailed, "failed"},
                                           {MigrationStatus::kCompleted, "completed"}});
}

// QEMU's status for a migration that has ended: every outcome but completed and cancelled is
// kFailed.
MigrationStatus final_status_of(Outcome outcome);
// Allowed: none → setup → active → completed; with a guest active → [pre-switchover →] device →
// completed; pre-switchover or device → active, if the switchover broke off; device, or at the
// receiver active → postcopy-active → completed; postcopy-active → postcopy-paused →
// postcopy-recover → postcopy-active, and each of them → completed; each but the first and the last
// → cancelling or failed; cancelling → cancelled.
bool may_follow(MigrationStatus from, MigrationStatus to);
inline bool is_postcopy(MigrationStatus status) {
    return status == MigrationStatus::kPostcopyActive ||
           status == MigrationStatus::kPostcopyPaused ||
           status == MigrationStatus::kPostcopyRecover;
}
inline bool is_final(MigrationStatus status) {
    return status == MigrationStatus::kCancelled || status == MigrationStatus::kFailed ||
           status == MigrationStatus::kCompleted;
}

// The current state, written by the session's main thread and read by any thread.
class StatusCell {
  public:
    MigrationStatus get() const { return status_.load(std::memory_order_acquire); }
    // An illegal transition is a broken invariant and aborts.
    void advance(MigrationStatus to);

  private:
    std::atomic<MigrationStatus> status_{MigrationStatus::kNone};
};

}  // namespace migrate::engine
