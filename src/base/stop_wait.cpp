#include "base/stop_wait.hpp"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace migrate {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr seconds kDay{86'400};

UniqueFd make_wake(const std::stop_token& stop) {
    return UniqueFd(stop.stop_possible() ? ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1);
}

}  // namespace

void StopWait::Wake::operator()() const {
    if (fd >= 0) (void)!::eventfd_write(fd, 1);
}

StopWait::StopWait(const std::stop_token& stop)
    : stop_(stop),
      wake_(make_wake(stop)),
      wake_error_(stop.stop_possible() && !wake_ ? errno : 0),
      on_stop_(stop, Wake{wake_.get()}) {}

Result<bool> StopWait::wait(int fd, short events, nanoseconds longest) const {
    if (wake_error_ != 0) return Error::system("create an eventfd", wake_error_);
    const auto until = Clock::now() + std::min<nanoseconds>(longest, kDay);
    while (true) {
        if (stop_.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        const auto left = std::max(nanoseconds(0), nanoseconds(until - Clock::now()));
        const auto whole = std::chrono::duration_cast<seconds>(left);
        const timespec time{whole.count(), (left - whole).count()};
        std::array<pollfd, 2> polled{{{wake_.get(), POLLIN, 0}, {fd, events, 0}}};
        const int count = ::ppoll(polled.data(), polled.size(), &time, nullptr);
        if (count < 0 && errno != EINTR) return Error::system("wait for a descriptor", errno);
        if (count < 0 || polled[0].revents != 0) continue;
        if (polled[1].revents != 0) return true;
        if (left.count() == 0) return false;
    }
}

}  // namespace migrate
