// SPDX-License-Identifier: Apache-2.0
#include "engine/guest_watcher.hpp"

#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "base/wait.hpp"

namespace migrate::engine {

Result<std::unique_ptr<GuestWatcher>> GuestWatcher::start(Needs needs, ThreadTimes& times,
                                                          Cancellation& cancellation) {
    UniqueFd alarm;
    if (needs.alarm >= 0) {
        alarm.reset(::fcntl(needs.alarm, F_DUPFD_CLOEXEC, 0));
        if (!alarm) return Error::system("duplicate a file descriptor", errno);
    }
    std::unique_ptr<GuestWatcher> watcher(new GuestWatcher(std::move(alarm), std::move(needs)));
    if (!watcher->alarm_) return watcher;
    MIGRATE_ASSIGN(watcher->thread_,
                   SessionThread::start("guest_watch", times, cancellation,
                                        [raw = watcher.get()] { return raw->run(); }));
    return watcher;
}

Result<std::unique_ptr<GuestWatcher>> GuestWatcher::start_for(const guest::GuestProcess& process,
                                                              SessionCore& core,
                                                              std::function<void(Error)> fail) {
    const auto end_of = [name = process.name]() -> Status {
        return make_error(
            "{} has ended, so no guest can arrive in it: start it and this receiver again", name);
    };
    return start({.alarm = process.descriptor, .check = end_of, .fail = std::move(fail)},
                 core.times(), core.cancellation());
}

GuestWatcher::~GuestWatcher() {
    end();
    if (thread_) thread_->join();
}

Status GuestWatcher::run() {
    const StopWait wait(end_.get_token());
    while (true) {
        const auto rings = wait.wait(alarm_.get(), POLLIN, std::chrono::hours(24));
        if (!rings) {
            return rings.error().kind() == ErrorKind::kCancelled ? Status() : rings.error();
        }
        if (!*rings) continue;
        Status alive = needs_.check();
        if (alive) continue;
        needs_.fail(std::move(alive).error());
        return {};
    }
}

}  // namespace migrate::engine
