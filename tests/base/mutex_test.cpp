// SPDX-License-Identifier: Apache-2.0
#include "base/mutex.hpp"

#include <thread>
#include <utility>

#include "catch.hpp"
#include "tests/support/long_wait.hpp"

namespace migrate {
namespace {

using std::chrono::milliseconds;

// A number that threads wait for.
class Number {
  public:
    void set(int value) {
        const MutexLock lock(mutex_);
        value_ = value;
        changed_.notify_all();
        stopped_.notify_all();
    }
    int await() {
        MutexLock lock(mutex_);
        changed_.wait(lock, [this]() REQUIRES(mutex_) { return value_ != 0; });
        return value_;
    }
    bool await_until(std::chrono::steady_clock::time_point until) {
        MutexLock lock(mutex_);
        return changed_.wait_until(lock, until, [this]() REQUIRES(mutex_) { return value_ != 0; });
    }
    bool await(const std::stop_token& stop) {
        MutexLock lock(mutex_);
        return stopped_.wait(lock, stop, [this]() REQUIRES(mutex_) { return value_ != 0; });
    }
    bool await_for(const std::stop_token& stop, milliseconds time) {
        MutexLock lock(mutex_);
        return stopped_.wait_for(lock, stop, time,
                                 [this]() REQUIRES(mutex_) { return value_ != 0; });
    }
    void pause(const std::stop_token& stop, milliseconds time) {
        MutexLock lock(mutex_);
        stopped_.pause(lock, stop, time);
    }

  private:
    Mutex mutex_;
    Condition changed_;
    StopCondition stopped_;
    int value_ GUARDED_BY(mutex_) = 0;
};

TEST_CASE("one thread at a time holds a mutex") {
    Mutex mutex;
    bool taken = true;
    {
        const MutexLock lock(mutex);
        std::jthread([&] { taken = mutex.try_lock(); });
        CHECK_FALSE(taken);
    }
    if (mutex.try_lock()) {
        const MutexLock lock(mutex, std::adopt_lock);
        taken = true;
    }
    CHECK(std::exchange(taken, false));
    MutexLock lock(mutex);
    lock.unlock();
    std::jthread([&] {
        const MutexLock other(mutex);
        taken = true;
    });
    lock.lock();
    CHECK(taken);
}

TEST_CASE("a wait ends when its predicate is true") {
    Number number;
    std::jthread setter([&] { number.set(7); });
    CHECK(number.await() == 7);
    CHECK(number.await({}));
    CHECK(number.await_for({}, kLong));
    CHECK(number.await_until(std::chrono::steady_clock::now() + kLong));
}

TEST_CASE("a wait ends at its time limit and at a stop") {
    Number number;
    CHECK_FALSE(number.await_until(std::chrono::steady_clock::now() + milliseconds(1)));
    CHECK_FALSE(number.await_for({}, milliseconds(1)));
    number.pause({}, milliseconds(1));
    pause_until({}, std::chrono::steady_clock::now() + milliseconds(1));
    std::stop_source stop;
    std::jthread stopping([&] { stop.request_stop(); });
    CHECK_FALSE(number.await(stop.get_token()));
    CHECK_FALSE(number.await_for(stop.get_token(), std::chrono::hours(1)));
    number.pause(stop.get_token(), std::chrono::hours(1));
    pause_until(stop.get_token(), std::chrono::steady_clock::now() + std::chrono::hours(1));
}

}  // namespace
}  // namespace migrate
