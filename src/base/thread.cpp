// SPDX-License-Identifier: Apache-2.0
#include "base/thread.hpp"

#include <pthread.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <new>
#include <system_error>
#include <utility>

#include "base/catching.hpp"

namespace migrate {

std::uint64_t thread_run_time_ns() {
    // First field: time spent on the CPU, in ns (Documentation/scheduler/sched-stats.rst).
    std::ifstream file("/proc/thread-self/schedstat");
    std::uint64_t run_time = 0;
    if (file >> run_time && run_time != 0) return run_time;
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}

void name_this_thread(const std::string& name) {
    ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
}

void ThreadTimes::add(ThreadTime time) {
    const MutexLock lock(mutex_);
    times_.push_back(std::move(time));
}

SignalsBlocked::SignalsBlocked() {
    sigset_t all{};
    ::sigfillset(&all);
    // A thread that raises one of these while it is blocked is killed, whatever handles it.
    for (const int own : {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP}) ::sigdelset(&all, own);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
}

SignalsBlocked::~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

std::vector<ThreadTime> ThreadTimes::all() const {
    const MutexLock lock(mutex_);
    return times_;
}

void run_timed(const std::string& name, ThreadTimes& times, const std::function<void()>& work) {
    name_this_thread(name);
    work();
    // Finished work does not fail if there is no memory to record its time.
    static_cast<void>(catching(name, [&]() -> Status {
        times.add({name, thread_run_time_ns()});
        return {};
    }));
}

Error start_error(std::string_view what, int code) {
    const bool limited = code == EAGAIN || code == ENOMEM;
    return make_error("cannot start {}: {}{}", what, std::generic_category().message(code),
                      limited ? " (check the limits pids.max, ulimit -u and ulimit -v)" : "");
}

namespace {

Mutex start_hook_mutex;
ThreadStartHook::Hook start_hook GUARDED_BY(start_hook_mutex);

int ask_start_hook(std::string_view name) {
    const MutexLock lock(start_hook_mutex);
    return start_hook ? start_hook(name) : 0;
}

}  // namespace

ThreadStartHook::ThreadStartHook(Hook hook) {
    const MutexLock lock(start_hook_mutex);
    start_hook = std::move(hook);
}

ThreadStartHook::~ThreadStartHook() {
    const MutexLock lock(start_hook_mutex);
    start_hook = nullptr;
}

Result<Thread> Thread::start(const std::string& name, Body body, OnError on_error) noexcept {
    return catching(name, [&]() -> Result<Thread> {
        const std::string what = "thread " + name;
        const int refused = ask_start_hook(name);
        if (refused != 0) return start_error(what, refused);
        try {
            return Thread(
                std::jthread([name, body = std::move(body), on_error = std::move(on_error)](
                                 const std::stop_token& stop) noexcept {
                    Status status = catching(name, [&] {
                        name_this_thread(name);
                        return body(stop);
                    });
                    if (!status) on_error(std::move(status).error());
                }));
        } catch (const std::system_error& error) {
            return start_error(what, error.code().value());
        } catch (const std::bad_alloc&) {
            return start_error(what, ENOMEM);
        }
    });
}

std::vector<Thread> start_helpers(const std::string& name, unsigned count,
                                  const std::function<Status(const std::stop_token&)>& body,
                                  const std::function<void(Error)>& on_error) {
    std::vector<Thread> helpers;
    helpers.reserve(count);
    for (unsigned i = 1; i <= count; ++i) {
        Result<Thread> helper = Thread::start(fmt::format("{}_{}", name, i), body, on_error);
        if (!helper) break;
        helpers.push_back(*std::move(helper));
    }
    return helpers;
}

Result<SessionThread> SessionThread::start(const std::string& name, ThreadTimes& times,
                                           Cancellation& cancellation,
                                           std::function<Status()> body) noexcept {
    return catching(name, [&]() -> Result<SessionThread> {
        auto timed = [name, &times, body = std::move(body)](const std::stop_token&) {
            Status status;
            run_timed(name, times, [&] { status = catching("thread " + name, body); });
            return status;
        };
        MIGRATE_ASSIGN(Thread thread,
                       Thread::start(name, std::move(timed), [&cancellation](Error error) {
                           if (error.kind() == ErrorKind::kLostConnection) {
                               cancellation.fail_lost_connection(std::move(error));
                           } else {
                               cancellation.fail_unless_stopped(std::move(error));
                           }
                       }));
        return SessionThread(std::move(thread));
    });
}

}  // namespace migrate
