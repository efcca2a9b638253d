// SPDX-License-Identifier: Apache-2.0
#include "devices/busy_time.hpp"

namespace migrate::devices {

bool BusyTime::Account::wait(std::chrono::nanoseconds cost, Clock::time_point began,
                             const std::stop_token& stop) {
    owed += cost;
    if (Clock::now() - began < owed) pause_until(stop, began + owed);
    owed -= Clock::now() - began;
    return !stop.stop_requested();
}

Status BusyTime::pass(std::chrono::nanoseconds cost, const std::stop_token& stop,
                      const std::function<Status()>& work) {
    const Error cancelled(ErrorKind::kCancelled, "cancelled");
    const auto held = std::chrono::nanoseconds(
        static_cast<std::int64_t>(static_cast<double>(cost.count()) * serialised_));
    if (held.count() > 0) {
        const MutexLock lock(bus_->mutex());
        if (!held_.wait(held, Clock::now(), stop)) return cancelled;
    }
    const Clock::time_point began = Clock::now();
    if (work) MIGRATE_TRY(work());
    return alone_.wait(cost - held, began, stop) ? Status() : Status(cancelled);
}

}  // namespace migrate::devices
