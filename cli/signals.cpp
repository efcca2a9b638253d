#include "cli/signals.hpp"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>

namespace migrate::cli {

Result<Signals> Signals::create() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGINT);
    ::sigaddset(&set, SIGTERM);
    const int error = ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    if (error != 0) return Error::system("block signals", error);
    UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd) return Error::system("create a signalfd", errno);
    return Signals(std::move(fd));
}

Result<bool> Signals::came_within(std::optional<std::chrono::milliseconds> time) const {
    using Clock = std::chrono::steady_clock;
    using std::chrono::milliseconds;
    const Clock::time_point end = Clock::now() + time.value_or(milliseconds(0));
    while (true) {
        const auto left =
            std::max<std::int64_t>(std::chrono::ceil<milliseconds>(end - Clock::now()).count(), 0);
        pollfd polled{fd_.get(), POLLIN, 0};
        const int timeout = time ? static_cast<int>(std::min<std::int64_t>(left, INT_MAX)) : -1;
        const int ready = ::poll(&polled, 1, timeout);
        if (ready < 0 && errno != EINTR) return Error::system("wait for a signal", errno);
        if (ready > 0) return true;
        if (time && left == 0) return false;
    }
}

std::string_view Signals::take() const {
    signalfd_siginfo info{};
    if (::read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info))
        return "a signal";
    return info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM";
}

}  // namespace migrate::cli
