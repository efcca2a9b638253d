// SPDX-License-Identifier: Apache-2.0
#include "transport/zero_copy.hpp"

#include <linux/errqueue.h>
#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "transport/socket_calls.hpp"

namespace migrate::transport {
namespace {

// Refused sends in a row after which the connection copies. Completions of other sends may make
// room before that.
constexpr unsigned kMostRefusals = 8;

class KernelCalls final : public ZeroCopyCalls {
  public:
    explicit KernelCalls(int fd) : fd_(fd) {}

    int allow() override {
        const int on = 1;
        return ::setsockopt(fd_, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on);
    }
    ssize_t send(const msghdr& message, int flags) override {
        return ::sendmsg(fd_, &message, flags);
    }
    ssize_t take_completion(msghdr& message) override {
        return ::recvmsg(fd_, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
    }
    Waited wait(WaitClock::time_point until) override {
        // poll() reports POLLERR for the error queue without being asked.
        pollfd polled{fd_, 0, 0};
        const int ready = wait_for_any(std::span(&polled, 1), until);
        if (ready == 0) return Waited::kTimeout;
        if (ready < 0 || (polled.revents & POLLERR) == 0) return Waited::kEnded;
        return Waited::kCompletion;
    }

  private:
    int fd_;
};

bool is_completion(const cmsghdr& header) {
    return (header.cmsg_level == SOL_IP && header.cmsg_type == IP_RECVERR) ||
           (header.cmsg_level == SOL_IPV6 && header.cmsg_type == IPV6_RECVERR);
}

}  // namespace

std::unique_ptr<ZeroCopyCalls> make_zero_copy_calls(int fd) {
    return std::make_unique<KernelCalls>(fd);
}

ZeroCopyFigures& ZeroCopyFigures::operator+=(const ZeroCopyFigures& other) {
    sends += other.sends;
    completed += other.completed;
    copied += other.copied;
    refused += other.refused;
    missed_rounds += other.missed_rounds;
    return *this;
}

Status ZeroCopySender::allow() {
    if (calls_->allow() == 0) return {};
    return Error::system("allow zero-copy send (SO_ZEROCOPY)", errno).as(ErrorKind::kRefused);
}

ZeroCopySender::Moved ZeroCopySender::send(std::span<const iovec> parts) {
    const msghdr message = message_of(parts);
    meant_ = true;
    const ssize_t moved = copies_
                              ? uninterrupted([&] { return calls_->send(message, MSG_NOSIGNAL); })
                              : try_send(message);
    const int error = errno;
    MIGRATE_TRY(take_completions());
    errno = error;
    return result_of_send(moved);
}

// Sends without a copy if the kernel has room for that, and with a copy otherwise.
ssize_t ZeroCopySender::try_send(const msghdr& message) {
    const auto send = [&](int flags) {
        return uninterrupted([&] { return calls_->send(message, flags | MSG_NOSIGNAL); });
    };
    ssize_t moved = send(MSG_ZEROCOPY);
    if (moved > 0) {
        refused_in_a_row_ = 0;
        sends_.fetch_add(1, std::memory_order_relaxed);
    }
    if (moved >= 0 || errno != ENOBUFS) return moved;
    refused_.fetch_add(1, std::memory_order_relaxed);
    if (++refused_in_a_row_ >= kMostRefusals || pending() == 0) {
        fall_back(
            "the kernel refused it (ENOBUFS): raise RLIMIT_MEMLOCK (ulimit -l) or "
            "net.core.optmem_max");
    }
    return send(0);
}

Result<std::uint64_t> ZeroCopySender::take_completions() {
    const std::uint64_t before = completed_;
    while (pending() != 0) {
        MIGRATE_ASSIGN(const bool took, take_one());
        if (!took) break;
    }
    return completed_ - before;
}

// Takes one message of the error queue; false if there is none. A message tells the completion of
// a range of sends, whose numbers are 32 bits wide.
Result<bool> ZeroCopySender::take_one() {
    alignas(cmsghdr)
        std::array<std::byte, CMSG_SPACE(sizeof(sock_extended_err) + sizeof(sockaddr_in6))>
            control{};
    msghdr message{};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t taken = uninterrupted([&] { return calls_->take_completion(message); });
    if (taken < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
        return Error::system("take the completions of zero-copy send", errno)
            .as(ErrorKind::kLostConnection);
    }
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
        sock_extended_err report{};
        if (!is_completion(*header)) continue;
        std::memcpy(&report, CMSG_DATA(header), sizeof report);
        if (report.ee_origin != SO_EE_ORIGIN_ZEROCOPY || report.ee_errno != 0) continue;
        const std::uint64_t count = std::uint64_t{report.ee_data - report.ee_info} + 1;
        if (count > pending()) {
            return make_error("the kernel completed {} zero-copy sends, but only {} were pending",
                              count, pending());
        }
        completed_.fetch_add(count, std::memory_order_relaxed);
        if ((report.ee_code & SO_EE_CODE_ZEROCOPY_COPIED) == 0) {
            avoided_ = true;
        } else {
            copied_.fetch_add(count, std::memory_order_relaxed);
            fall_back("the kernel copied the memory all the same, as it does within a host");
        }
    }
    return true;
}

Result<ZeroCopyCalls::Waited> ZeroCopySender::await_completions(WaitClock::time_point until) {
    const ZeroCopyCalls::Waited waited = calls_->wait(until);
    MIGRATE_ASSIGN(const std::uint64_t taken, take_completions());
    if (taken != 0) return ZeroCopyCalls::Waited::kCompletion;
    // The error of a connection that failed looks like a completion.
    return waited == ZeroCopyCalls::Waited::kTimeout ? waited : ZeroCopyCalls::Waited::kEnded;
}

void ZeroCopySender::end_round() {
    if (meant_ && !avoided_) missed_rounds_.fetch_add(1, std::memory_order_relaxed);
    meant_ = false;
    avoided_ = false;
}

void ZeroCopySender::fall_back(std::string reason) {
    if (copies_) return;
    copies_ = true;
    const MutexLock lock(mutex_);
    fallback_ = std::move(reason);
}

ZeroCopyFigures ZeroCopySender::figures() const {
    const auto value = [](const std::atomic<std::uint64_t>& counter) {
        return counter.load(std::memory_order_relaxed);
    };
    return {value(sends_), value(completed_), value(copied_), value(refused_),
            value(missed_rounds_)};
}

std::string ZeroCopySender::fallback() const {
    const MutexLock lock(mutex_);
    return fallback_;
}

}  // namespace migrate::transport
