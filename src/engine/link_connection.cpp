// SPDX-License-Identifier: Apache-2.0
#include "engine/link_connection.hpp"

#include <utility>

namespace migrate::engine {

LinkConnection::Channel LinkConnection::get() const {
    const MutexLock lock(mutex_);
    return channel_;
}

void LinkConnection::replace(Channel channel) {
    const MutexLock lock(mutex_);
    sent_before_ += channel_->bytes_sent();
    received_before_ += channel_->bytes_received();
    channel_ = std::move(channel);
    lost_.reset();
}

void LinkConnection::survive(std::function<void()> on_lost) {
    const MutexLock lock(mutex_);
    if (!on_lost_) on_lost_ = std::move(on_lost);
}

Status LinkConnection::fail_on_loss() {
    const MutexLock lock(mutex_);
    on_lost_ = nullptr;
    return lost_ ? Status(*lost_) : Status();
}

bool LinkConnection::survives() const {
    const MutexLock lock(mutex_);
    return on_lost_ != nullptr;
}

bool LinkConnection::take_loss(const Error& error) {
    if (error.kind() != ErrorKind::kLostConnection && error.kind() != ErrorKind::kTimeout) {
        return false;
    }
    const MutexLock lock(mutex_);
    if (!on_lost_) return false;
    // A silent peer is a lost connection, too, for all that use it.
    lost_.emplace(ErrorKind::kLostConnection, std::string(error.message()));
    channel_->shutdown();
    // Under the lock, so that what it uses may end once fail_on_loss() has returned.
    on_lost_();
    return true;
}

std::optional<Error> LinkConnection::lost() const {
    const MutexLock lock(mutex_);
    return lost_;
}

std::uint64_t LinkConnection::bytes_sent() const {
    const MutexLock lock(mutex_);
    return sent_before_ + channel_->bytes_sent();
}

std::uint64_t LinkConnection::bytes_received() const {
    const MutexLock lock(mutex_);
    return received_before_ + channel_->bytes_received();
}

}  // namespace migrate::engine
