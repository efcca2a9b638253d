// The states of a migration, by QEMU's names (qapi/migration.json, MigrationStatus), and how they
// may follow.
#pragma once

#include <atomic>
#include <string_view>

namespace migrate::engine {

enum class MigrationStatus { kNone, kSetup, kActive, kCancelling, kCancelled, kFailed, kCompleted };

std::string_view name_of(MigrationStatus status);
// none → setup → active → completed; cancelling or failed from setup and active; cancelling →
// cancelled.
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
