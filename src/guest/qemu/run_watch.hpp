// SPDX-License-Identifier: Apache-2.0
// Follows QEMU's events about a guest that must stand still. Invariant: the first sign since
// begin() that the guest ran, was reset or changed is kept, however many events follow.
#pragma once

#include <string>
#include <utility>

#include "qmp/message.hpp"

namespace migrate::guest {

class RunWatch {
  public:
    // Takes each event, in order.
    void see(const qmp::Json& event);

    // From now on the guest must stand still.
    void begin();
    // Like begin(), for a guest that runs until the next STOP: events before that STOP are no
    // signs.
    void begin_at_stop();
    // After begin_at_stop(): true once that STOP came.
    bool has_stopped() const { return !until_stop_; }
    // Notes that events may have been missed.
    void miss();

    // The first sign, worded for the user; empty if none.
    const std::string& sign() const { return sign_; }
    // True if the guest ran, as far as events tell.
    bool ran() const { return ran_; }
    bool was_reset() const { return reset_; }
    // True if a migration of QEMU's changed its state since begin(), as far as events tell.
    bool migrated() const { return migrated_; }
    // True if the last STOP came from the end of a migration: the guest ran until then.
    bool stopped_by_migration() const { return stopped_by_migration_; }
    // The first event at any time after which a guest that runs can no longer be moved (it was shut
    // down or reset, or it panicked), worded for the user; empty if none. begin() does not clear
    // it.
    const std::string& upset() const { return upset_; }
    // True if a device was unplugged since the last call.
    bool take_unplugged() { return std::exchange(unplugged_, false); }

  private:
    void note(std::string sign);

    bool until_stop_ = false;
    bool ran_ = false;
    bool reset_ = false;
    bool migrating_ = false;
    bool migrated_ = false;
    bool stopped_by_migration_ = false;
    std::string sign_;
    std::string upset_;
    bool unplugged_ = false;
};

}  // namespace migrate::guest
