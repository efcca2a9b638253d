// SPDX-License-Identifier: Apache-2.0
#include "base/cancellation.hpp"

namespace migrate {

Cancellation::Cancellation(Cancellation& session) : session_(&session) {
    on_session_stop_.emplace(session.token(), [this] { stop_.request_stop(); });
}

void Cancellation::end() {
    ended_.store(true, std::memory_order_release);
    stop_.request_stop();
}

void Cancellation::fail(Error error) {
    if (session_ != nullptr) {
        if (!is_consequence()) session_->fail(std::move(error));
        return;
    }
    {
        const MutexLock lock(mutex_);
        if (error_) return;
        error_ = std::move(error);
    }
    stop_.request_stop();
}

void Cancellation::fail_unless_stopped(Error error) {
    if (session_ != nullptr) {
        if (!is_consequence()) session_->fail_unless_stopped(std::move(error));
        return;
    }
    {
        const MutexLock lock(mutex_);
        if (error_ || lost_) return;
        error_ = std::move(error);
    }
    stop_.request_stop();
}

void Cancellation::fail_lost_connection(Error error) {
    if (session_ != nullptr) {
        if (!is_consequence()) session_->fail_lost_connection(std::move(error));
        return;
    }
    std::function<void()> listener;
    {
        const MutexLock lock(mutex_);
        if (error_ || lost_) return;
        lost_ = std::move(error);
        listener = std::exchange(listener_, nullptr);
    }
    if (listener) {
        listener();
        stop_.request_stop();
    } else {
        confirm_lost();
    }
}

void Cancellation::confirm_lost() {
    if (session_ != nullptr) return session_->confirm_lost();
    std::optional<Error> lost;
    try {
        const MutexLock lock(mutex_);
        lost = lost_;
    } catch (...) {
        // There is no memory for a copy; this text is short enough to need none.
        lost.emplace(ErrorKind::kLostConnection, "connection lost");
    }
    if (lost) fail(*std::move(lost));
}

void Cancellation::on_lost_connection(std::function<void()> listener) {
    if (session_ != nullptr) return session_->on_lost_connection(std::move(listener));
    const MutexLock lock(mutex_);
    listener_ = std::move(listener);
}

std::optional<Error> Cancellation::error() const {
    if (session_ != nullptr) return session_->error();
    const MutexLock lock(mutex_);
    try {
        return error_;
    } catch (...) {
        return Error(error_->kind(), "out of memory");  // short enough to need no heap memory
    }
}

bool Cancellation::reason_is_open() const {
    if (session_ != nullptr) return session_->reason_is_open();
    const MutexLock lock(mutex_);
    return lost_ && !error_;
}

bool Cancellation::connection_lost() const {
    if (session_ != nullptr) return session_->connection_lost();
    const MutexLock lock(mutex_);
    return lost_.has_value();
}

}  // namespace migrate
