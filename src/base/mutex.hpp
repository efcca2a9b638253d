// SPDX-License-Identifier: Apache-2.0
// A mutex, its lock and two condition variables that clang checks (-Wthread-safety). Invariant:
// code uses a member that is GUARDED_BY a mutex, and calls a function that REQUIRES it, only while
// it holds that mutex. These types cost what the standard library's types cost. clang checks a
// lambda on its own, so the predicate of a wait states what it requires:
// `[this]() REQUIRES(mutex_) { return ready_; }`.
// https://clang.llvm.org/docs/ThreadSafetyAnalysis.html describes the attributes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

#if defined(__clang__)
#define MIGRATE_ATTRIBUTE(x) __attribute__((x))
#else
#define MIGRATE_ATTRIBUTE(x)
#endif
// The member is read and written only while the mutex is held.
#define GUARDED_BY(mutex) MIGRATE_ATTRIBUTE(guarded_by(mutex))
// The object that the pointer member points to is used only while the mutex is held.
#define PT_GUARDED_BY(mutex) MIGRATE_ATTRIBUTE(pt_guarded_by(mutex))
// The function's caller holds the mutex.
#define REQUIRES(...) MIGRATE_ATTRIBUTE(requires_capability(__VA_ARGS__))
// The function locks or unlocks the mutex; these three are for this file.
#define ACQUIRE(...) MIGRATE_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) MIGRATE_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
#define RELEASE(...) MIGRATE_ATTRIBUTE(release_capability(__VA_ARGS__))
// clang does not check the function; a comment there says why it is correct.
#define NO_THREAD_SAFETY_ANALYSIS MIGRATE_ATTRIBUTE(no_thread_safety_analysis)

namespace migrate {

class MIGRATE_ATTRIBUTE(capability("mutex")) Mutex {
  public:
    void lock() ACQUIRE() { mutex_.lock(); }
    bool try_lock() TRY_ACQUIRE(true) { return mutex_.try_lock(); }
    void unlock() RELEASE() { mutex_.unlock(); }

  private:
    friend class MutexLock;
    std::mutex mutex_;
};

// Holds a mutex until the end of its block.
class MIGRATE_ATTRIBUTE(scoped_lockable) MutexLock {
  public:
    explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : lock_(mutex.mutex_) {}
    // For a mutex that try_lock() has locked.
    MutexLock(Mutex& mutex, std::adopt_lock_t adopt) REQUIRES(mutex) : lock_(mutex.mutex_, adopt) {}
    MutexLock(const MutexLock&) = delete;
    MutexLock& operator=(const MutexLock&) = delete;
    ~MutexLock() RELEASE() = default;

    // Unlocks the mutex for a while.
    void unlock() RELEASE() { lock_.unlock(); }
    void lock() ACQUIRE() { lock_.lock(); }

  private:
    friend class Condition;
    friend class StopCondition;
    std::unique_lock<std::mutex> lock_;
};

// A condition variable for waits that no stop ends. A wait unlocks the mutex of `lock` meanwhile,
// and holds it when it calls `ready` and when it returns. clang does not check the waits, because
// it does not see that `ready` requires the mutex of `lock`.
class Condition {
  public:
    template <typename Ready>
    void wait(MutexLock& lock, Ready ready) NO_THREAD_SAFETY_ANALYSIS {
        condition_.wait(lock.lock_, std::move(ready));
    }
    // Returns false if `ready` returned false at `until`.
    template <typename Clock, typename Duration, typename Ready>
    bool wait_until(MutexLock& lock, std::chrono::time_point<Clock, Duration> until,
                    Ready ready) NO_THREAD_SAFETY_ANALYSIS {
        return condition_.wait_until(lock.lock_, until, std::move(ready));
    }
    void notify_one() { condition_.notify_one(); }
    void notify_all() { condition_.notify_all(); }

  private:
    std::condition_variable condition_;
};

// The same for waits that a requested stop ends, too. Each wait returns the last result of `ready`.
class StopCondition {
  public:
    template <typename Ready>
    bool wait(MutexLock& lock, const std::stop_token& stop, Ready ready) NO_THREAD_SAFETY_ANALYSIS {
        return condition_.wait(lock.lock_, stop, std::move(ready));
    }
    template <typename Rep, typename Period, typename Ready>
    bool wait_for(MutexLock& lock, const std::stop_token& stop,
                  std::chrono::duration<Rep, Period> time, Ready ready) NO_THREAD_SAFETY_ANALYSIS {
        return condition_.wait_for(lock.lock_, stop, time, std::move(ready));
    }
    template <typename Clock, typename Duration, typename Ready>
    bool wait_until(MutexLock& lock, const std::stop_token& stop,
                    std::chrono::time_point<Clock, Duration> until,
                    Ready ready) NO_THREAD_SAFETY_ANALYSIS {
        return condition_.wait_until(lock.lock_, stop, until, std::move(ready));
    }
    // Waits for `time` unless a stop is requested.
    template <typename Rep, typename Period>
    void pause(MutexLock& lock, const std::stop_token& stop,
               std::chrono::duration<Rep, Period> time) {
        condition_.wait_for(lock.lock_, stop, time, [] { return false; });
    }
    void notify_one() { condition_.notify_one(); }
    void notify_all() { condition_.notify_all(); }

  private:
    std::condition_variable_any condition_;
};

// Waits until `until`, unless a stop is requested.
template <typename Clock, typename Duration>
void pause_until(const std::stop_token& stop, std::chrono::time_point<Clock, Duration> until) {
    Mutex mutex;
    MutexLock lock(mutex);
    StopCondition().wait_until(lock, stop, until, [] { return false; });
}

}  // namespace migrate
