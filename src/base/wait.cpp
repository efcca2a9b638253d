// SPDX-License-Identifier: Apache-2.0
#include "base/wait.hpp"

#include <sys/eventfd.h>

#include <array>
#include <cerrno>

namespace migrate {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

// Longest time of one system call: a wait without an end repeats it.
constexpr nanoseconds kLongestCall = std::chrono::hours(24);

UniqueFd make_event() { return UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

bool ready_within(int fd, short events, std::chrono::milliseconds time) {
    pollfd polled{fd, events, 0};
    return wait_for_any(std::span(&polled, 1), after(time)) > 0;
}

}  // namespace

int wait_for_any(std::span<pollfd> polled, WaitClock::time_point until) {
    while (true) {
        const auto left = until - WaitClock::now();
        const auto call = std::clamp<nanoseconds>(left, nanoseconds(0), kLongestCall);
        const auto whole = std::chrono::duration_cast<seconds>(call);
        const timespec time{whole.count(), (call - whole).count()};
        const int ready = ::ppoll(polled.data(), polled.size(), &time, nullptr);
        if (ready > 0 || (ready < 0 && errno != EINTR)) return ready;
        if (ready == 0 && left <= call) return 0;
    }
}

bool readable_within(int fd, std::chrono::milliseconds time) {
    return ready_within(fd, POLLIN, time);
}

bool writable_within(int fd, std::chrono::milliseconds time) {
    return ready_within(fd, POLLOUT, time);
}

Result<Wakeup> Wakeup::create() {
    UniqueFd event = make_event();
    if (!event) return Error::system("create an eventfd", errno);
    return Wakeup(std::move(event));
}

void Wakeup::wake() const { (void)!::eventfd_write(event_.get(), 1); }

bool Wakeup::clear() const {
    eventfd_t count = 0;
    return ::eventfd_read(event_.get(), &count) == 0;
}

void StopWait::Wake::operator()() const {
    if (fd >= 0) (void)!::eventfd_write(fd, 1);
}

StopWait::StopWait(const std::stop_token& stop)
    : stop_(stop),
      wake_(stop.stop_possible() ? make_event() : UniqueFd()),
      wake_error_(stop.stop_possible() && !wake_ ? errno : 0),
      on_stop_(stop, Wake{wake_.get()}) {}

Result<bool> StopWait::wait_until(int fd, short events, WaitClock::time_point until) const {
    if (wake_error_ != 0) return Error::system("create an eventfd", wake_error_);
    std::array<pollfd, 2> polled{{{wake_.get(), POLLIN, 0}, {fd, events, 0}}};
    const int ready = wait_for_any(polled, until);
    if (ready < 0) return Error::system("wait for a descriptor", errno);
    if (stop_.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
    return polled[1].revents != 0;
}

}  // namespace migrate
