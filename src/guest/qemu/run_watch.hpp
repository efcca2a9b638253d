// What QEMU's events say about a guest that has to stand still. Invariant: the first sign that it
// ran, was reset or changed is kept from begin() on, however many events follow.
#pragma once

#include <string>

#include "qmp/message.hpp"

namespace migrate::guest {

class RunWatch {
  public:
    // Each event, in their order.
    void see(const qmp::Json& event);

    // From here on the guest has to stand still.
    void begin();
    // As begin(), for a guest that runs until the next STOP: what comes before that is no sign.
    void begin_at_stop();
    // Events may have been missed.
    void miss();

    // What happened first, for the user; empty: nothing.
    const std::string& sign() const { return sign_; }
    // Whether it ran, as far as events tell.
    bool ran() const { return ran_; }
    bool was_reset() const { return reset_; }
    // Whether the last STOP was that of a migration, at its end: the guest ran until then.
    bool stopped_by_migration() const { return stopped_by_migration_; }
    // Whether it was shut down at any time, begin() or not.
    bool shut_down() const { return shut_down_; }

  private:
    void note(std::string sign);

    bool until_stop_ = false;
    bool ran_ = false;
    bool reset_ = false;
    bool migrating_ = false;
    bool stopped_by_migration_ = false;
    std::string sign_;
    bool shut_down_ = false;
};

}  // namespace migrate::guest
