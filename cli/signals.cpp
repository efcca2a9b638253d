// SPDX-License-Identifier: Apache-2.0
#include "cli/signals.hpp"

#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "base/fd.hpp"
#include "base/mutex.hpp"
#include "base/outcome.hpp"
#include "base/output.hpp"
#include "base/thread.hpp"
#include "base/wait.hpp"

namespace migrate::cli {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kSameSignal{50};
constexpr milliseconds kLeaveWithin{100};  // limit for flushing output that nobody reads

std::string_view name_of_signal(int number) {
    switch (number) {
        case SIGINT:
            return "SIGINT";
        case SIGTERM:
            return "SIGTERM";
        case SIGHUP:
            return "SIGHUP";
        default:
            return "SIGQUIT";
    }
}

bool is_ignored(int number) {
    struct sigaction action {};
    return ::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

sigset_t ending_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGINT);
    ::sigaddset(&set, SIGTERM);
    for (const int number : {SIGHUP, SIGQUIT}) {
        if (!is_ignored(number)) ::sigaddset(&set, number);
    }
    return set;
}

[[noreturn]] void leave_at_once(const Signals::Leave& leave, std::string_view name) {
    output::to_stderr("\n", Importance::kImportant);
    int code = exit_code_of(Outcome::kCancelled);
    if (leave) {
        code = leave(name);
    } else {
        output::to_stderr(fmt::format("migrate: {} again: leaving at once\n", name),
                          Importance::kImportant);
    }
    output::flush(kLeaveWithin);
    ::_exit(code);
}

}  // namespace

struct Signals::State {
    explicit State(Second on_second) : second(on_second) {}
    ~State() {
        if (!thread.joinable()) return;
        quit->wake();
        thread.join();
    }

    void run();
    void arrived_one(int number);

    const Second second;
    UniqueFd signals;               // a signalfd
    std::optional<Wakeup> arrived;  // readable while `name` is set
    std::optional<Wakeup> quit;     // ends the thread
    std::stop_source stop;
    Mutex mutex;
    std::string_view name GUARDED_BY(mutex);  // name of the first signal not taken
    Clock::time_point when GUARDED_BY(mutex);
    Leave leave GUARDED_BY(mutex);
    Thread thread;
};

void Signals::State::arrived_one(int number) {
    const std::string_view its_name = name_of_signal(number);
    {
        const MutexLock lock(mutex);
        if (!name.empty()) {
            const bool again = number != SIGHUP && Clock::now() - when >= kSameSignal;
            if (again && second == Second::kLeaves) leave_at_once(leave, its_name);
            return;
        }
        name = its_name;
        when = Clock::now();
        arrived->wake();
    }
    stop.request_stop();
}

void Signals::State::run() {
    while (true) {
        std::array<pollfd, 2> polled{pollfd{signals.get(), POLLIN, 0},
                                     pollfd{quit->fd(), POLLIN, 0}};
        if (wait_for_any(polled, kNever) < 0) continue;
        if (polled[1].revents != 0) return;
        signalfd_siginfo info{};
        if (::read(signals.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
            arrived_one(static_cast<int>(info.ssi_signo));
        }
    }
}

Result<Signals> Signals::create(Second second) {
    auto state = std::make_unique<State>(second);
    const sigset_t set = ending_signals();
    const int error = ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    if (error != 0) return Error::system("block signals", error);
    state->signals.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!state->signals) return Error::system("create a signalfd", errno);
    MIGRATE_ASSIGN(state->arrived, Wakeup::create());
    MIGRATE_ASSIGN(state->quit, Wakeup::create());
    const SignalsBlocked blocked;
    MIGRATE_ASSIGN(state->thread, Thread::start(
                                      "signals",
                                      [raw = state.get()](const std::stop_token&) -> Status {
                                          raw->run();
                                          return {};
                                      },
                                      [](const Error&) {}));
    return Signals(std::move(state));
}

Signals::Signals(std::unique_ptr<State> state) : state_(std::move(state)) {}
Signals::Signals(Signals&&) noexcept = default;
Signals::~Signals() = default;

int Signals::fd() const { return state_->arrived->fd(); }
std::stop_token Signals::token() const { return state_->stop.get_token(); }

Result<bool> Signals::came_within(std::optional<milliseconds> time) const {
    pollfd polled{fd(), POLLIN, 0};
    const int ready = wait_for_any(std::span(&polled, 1), time ? after(*time) : kNever);
    if (ready < 0) return Error::system("wait for a signal", errno);
    return ready > 0;
}

void Signals::on_second(Leave leave) const {
    const MutexLock lock(state_->mutex);
    state_->leave = std::move(leave);
}

std::string_view Signals::received() const {
    const MutexLock lock(state_->mutex);
    return state_->name;
}

std::string_view Signals::take() const {
    const MutexLock lock(state_->mutex);
    static_cast<void>(state_->arrived->clear());
    return std::exchange(state_->name, {});
}

}  // namespace migrate::cli
