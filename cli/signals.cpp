#include "cli/signals.hpp"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

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

std::string_view Signals::take() const {
    signalfd_siginfo info{};
    if (::read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info))
        return "a signal";
    return info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM";
}

}  // namespace migrate::cli
