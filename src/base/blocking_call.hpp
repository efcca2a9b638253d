// SPDX-License-Identifier: Apache-2.0
// Runs calls that can neither be cancelled nor given a deadline: getaddrinfo(), open() on a file
// system that does not answer, filling memory. Invariant: the caller waits no longer than its
// limits allow; a call that takes longer is left behind on its own thread, with everything that it
// uses.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "base/catching.hpp"
#include "base/error.hpp"
#include "base/mutex.hpp"
#include "base/thread.hpp"

namespace migrate {

// True if some call was left behind. The program then ends by _exit(), because that thread still
// uses objects that static destructors destroy.
bool calls_left_behind();

namespace internal {
void note_call_left_behind();
}

struct CallLimits {
    std::optional<std::chrono::milliseconds> timeout{};  // none: no limit
    std::stop_token stop{};
};

// A call that runs on a thread of its own while its caller goes on. Invariant: once the object has
// gone, the call touches nothing but what it owns; a call that has not ended by then is left
// behind.
template <typename T>
class OngoingCall {
  public:
    // Starts `call`, which owns everything that it uses. An exception of the call becomes an Error.
    // `ended`, if given, is called once on that thread when the result is there, unless this object
    // has gone before; it must neither wait nor throw nor use this object.
    static Result<OngoingCall> start(const std::string& what, std::function<Result<T>()> call,
                                     std::function<void()> ended = nullptr) {
        const auto shared = std::make_shared<Shared>();
        {
            const MutexLock lock(shared->mutex);
            shared->on_end = std::move(ended);
        }
        const SignalsBlocked blocked;
        Result<Thread> thread = Thread::start(
            "blocking_call",
            [shared, what, call = std::move(call)](const std::stop_token&) mutable -> Status {
                std::optional<Result<T>> result = catching(what, call);
                // Destroyed before the result is set: afterwards nothing else uses what the call
                // owns.
                call = nullptr;
                const MutexLock lock(shared->mutex);
                shared->result = std::move(result);
                shared->has_ended = true;
                shared->ended.notify_all();
                if (shared->on_end) shared->on_end();
                return {};
            },
            [](const Error&) {});
        if (!thread) return std::move(thread).error().with_context(what);
        thread->detach();
        return OngoingCall(what, shared);
    }
    OngoingCall(OngoingCall&&) noexcept = default;
    OngoingCall& operator=(OngoingCall&&) = delete;
    OngoingCall(const OngoingCall&) = delete;
    OngoingCall& operator=(const OngoingCall&) = delete;
    ~OngoingCall() {
        if (!shared_) return;
        const MutexLock lock(shared_->mutex);
        shared_->on_end = nullptr;
        if (!shared_->has_ended) internal::note_call_left_behind();
    }

    // Waits for the result. kTimeout after the timeout ("WHAT: no answer within N ms"), kCancelled
    // when a stop is requested. After a result it is not called again.
    Result<T> wait(const CallLimits& limits) {
        MutexLock lock(shared_->mutex);
        const auto ready = [&]() REQUIRES(shared_->mutex) { return shared_->result.has_value(); };
        if (!limits.timeout) {
            shared_->ended.wait(lock, limits.stop, ready);
        } else {
            shared_->ended.wait_for(lock, limits.stop, *limits.timeout, ready);
        }
        if (shared_->result) return *std::exchange(shared_->result, std::nullopt);
        if (limits.stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        return make_error(ErrorKind::kTimeout, "{}: no answer within {} ms", what_,
                          limits.timeout->count());
    }

  private:
    struct Shared {
        Mutex mutex;
        StopCondition ended;
        std::optional<Result<T>> result GUARDED_BY(mutex);  // until wait() takes it
        bool has_ended GUARDED_BY(mutex) = false;
        std::function<void()> on_end GUARDED_BY(mutex);
    };

    OngoingCall(std::string what, std::shared_ptr<Shared> shared)
        : what_(std::move(what)), shared_(std::move(shared)) {}

    std::string what_;
    std::shared_ptr<Shared> shared_;
};

// Runs `call`, which owns everything that it uses, on a thread of its own, and waits for it within
// the limits, as OngoingCall::wait() does.
template <typename T>
Result<T> call_within(const std::string& what, const CallLimits& limits,
                      std::function<Result<T>()> call) {
    MIGRATE_ASSIGN(OngoingCall<T> ongoing, OngoingCall<T>::start(what, std::move(call)));
    return ongoing.wait(limits);
}

}  // namespace migrate
