// SPDX-License-Identifier: Apache-2.0
#include "engine/recv/busy_listener.hpp"

#include <utility>

#include "base/log.hpp"

namespace migrate::engine {

Result<std::unique_ptr<BusyListener>> BusyListener::start(transport::Listener& listener) {
    std::unique_ptr<BusyListener> busy(new BusyListener(listener));
    MIGRATE_ASSIGN(busy->thread_,
                   Thread::start(
                       "busy_listener",
                       [self = busy.get()](const std::stop_token& stop) { return self->run(stop); },
                       [self = busy.get()](Error error) { self->fail(std::move(error)); }));
    return busy;
}

BusyListener::~BusyListener() {
    thread_.request_stop();
    thread_.join();
}

void BusyListener::serve(const transport::SessionId& session) {
    const MutexLock lock(mutex_);
    session_ = session;
}

Status BusyListener::run(const std::stop_token& stop) {
    while (true) {
        Result<transport::NewConnection> connection = listener_.next(std::nullopt, stop);
        if (stop.stop_requested()) return {};
        if (!connection) return std::move(connection).error();
        take(*std::move(connection));
    }
}

void BusyListener::take(transport::NewConnection connection) {
    if (connection.hello.role == transport::ConnectionRole::kMain) {
        log::warning("{}: another sender; refused", connection.peer);
        transport::refuse(std::move(connection.socket), "the receiver is busy with another sender");
        return;
    }
    const std::string peer = connection.peer;
    {
        const MutexLock lock(mutex_);
        const bool ours = session_ && connection.hello.session == *session_;
        if (ours && connection.hello.role == transport::ConnectionRole::kPostcopy) {
            for_postcopy_.push_back(std::move(connection));
            if (for_postcopy_.size() > kMostForPostcopy) for_postcopy_.pop_front();
            came_.notify_all();
            return;
        }
        if (ours && kept_.size() < kMostKept) {
            kept_.push_back(std::move(connection));
            came_.notify_all();
            return;
        }
    }
    if (connection.hello.role == transport::ConnectionRole::kResume) {
        log::warning("{}: a sender that returns to another session; refused", peer);
        transport::refuse(std::move(connection.socket),
                          "the receiver does not know this session: it is busy with another "
                          "sender");
        return;
    }
    log::warning("{}: a channel of another session; closed", peer);
}

void BusyListener::fail(Error error) noexcept {
    const MutexLock lock(mutex_);
    failed_ = std::move(error);
    came_.notify_all();
}

Result<transport::NewConnection> BusyListener::next_of(Kept BusyListener::*kept,
                                                       std::chrono::milliseconds timeout,
                                                       const std::stop_token& stop) {
    MutexLock lock(mutex_);
    const bool came = came_.wait_for(lock, stop, timeout, [&]() REQUIRES(mutex_) {
        return !(this->*kept).empty() || failed_.has_value();
    });
    if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
    if (!came) return Error(ErrorKind::kTimeout, "no channel connected in time");
    if ((this->*kept).empty()) return *failed_;
    transport::NewConnection connection = std::move((this->*kept).front());
    (this->*kept).pop_front();
    return connection;
}

}  // namespace migrate::engine
