// SPDX-License-Identifier: Apache-2.0
#include "base/own_cpu_time.hpp"

#include <pthread.h>

#include <algorithm>
#include <ctime>
#include <vector>

#include "base/cpu_set.hpp"
#include "base/mutex.hpp"

namespace migrate {
namespace {

using std::chrono::nanoseconds;

nanoseconds time_of(clockid_t clock) {
    timespec time{};
    if (::clock_gettime(clock, &time) != 0) return {};
    return std::chrono::seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
}

// The CPUs of the first thread, before it starts others.
const CpuSet& cpus_at_start() {
    static const CpuSet cpus = cpus_of_this_thread();
    return cpus;
}
[[maybe_unused]] const CpuSet& read_at_start = cpus_at_start();

struct GuestThreads {
    struct Running {
        pthread_t thread;
        clockid_t clock;
        nanoseconds before;  // that the thread had run when it became a guest's
    };
    Mutex mutex;
    std::vector<Running> running GUARDED_BY(mutex);
    nanoseconds ended GUARDED_BY(mutex){};

    nanoseconds sum() REQUIRES(mutex) {
        nanoseconds sum = ended;
        for (const Running& one : running) sum += time_of(one.clock) - one.before;
        return sum;
    }
};

GuestThreads& guest_threads() {
    static GuestThreads threads;
    return threads;
}

}  // namespace

nanoseconds own_cpu_time() {
    GuestThreads& threads = guest_threads();
    const MutexLock lock(threads.mutex);
    // The guest's time is read first: so the difference never counts it.
    const nanoseconds guests = threads.sum();
    return time_of(CLOCK_PROCESS_CPUTIME_ID) - guests;
}

GuestThread::GuestThread() {
    // Where the process may not use them any more, the thread keeps those it has.
    if (!cpus_at_start().empty()) static_cast<void>(run_on(cpus_at_start()));
    clockid_t clock{};
    if (::pthread_getcpuclockid(::pthread_self(), &clock) != 0) return;
    GuestThreads& threads = guest_threads();
    const MutexLock lock(threads.mutex);
    threads.running.push_back({::pthread_self(), clock, time_of(clock)});
}

GuestThread::~GuestThread() {
    GuestThreads& threads = guest_threads();
    const MutexLock lock(threads.mutex);
    const auto own = std::find_if(threads.running.begin(), threads.running.end(),
                                  [](const GuestThreads::Running& one) {
                                      return ::pthread_equal(one.thread, ::pthread_self()) != 0;
                                  });
    if (own == threads.running.end()) return;
    threads.ended += time_of(own->clock) - own->before;
    threads.running.erase(own);
}

}  // namespace migrate
