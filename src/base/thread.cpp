#include "base/thread.hpp"

#include <pthread.h>

#include <cstdio>
#include <ctime>
#include <exception>
#include <fstream>

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
    const std::scoped_lock lock(mutex_);
    times_.push_back(std::move(time));
}

SignalsBlocked::SignalsBlocked() {
    sigset_t all{};
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
}

SignalsBlocked::~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

std::vector<ThreadTime> ThreadTimes::all() const {
    const std::scoped_lock lock(mutex_);
    return times_;
}

namespace {

Status run_catching(const std::string& name, const std::function<Status()>& body) {
    // A library's exception must not end the process with a migration half done.
    try {
        return body();
    } catch (const std::exception& exception) {
        return make_error("thread {}: {}", name, exception.what());
    }
}

}  // namespace

void run_timed(const std::string& name, ThreadTimes& times, const std::function<void()>& work) {
    name_this_thread(name);
    work();
    times.add({name, thread_run_time_ns()});
}

SessionThread::SessionThread(std::string name, ThreadTimes& times, Cancellation& cancellation,
                             std::function<Status()> body)
    : thread_([name = std::move(name), &times, &cancellation, body = std::move(body)] {
          Status status;
          run_timed(name, times, [&] { status = run_catching(name, body); });
          if (status) return;
          if (status.error().kind() == ErrorKind::kLostConnection) {
              cancellation.fail_lost_connection(std::move(status).error());
          } else {
              cancellation.fail_unless_stopped(std::move(status).error());
          }
      }) {}

void SessionThread::join() {
    if (thread_.joinable()) thread_.join();
}

}  // namespace migrate
