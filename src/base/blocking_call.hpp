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

// Runs `call`, which owns everything that it uses, on a thread of its own. kTimeout after the
// timeout ("WHAT: no answer within N ms"), kCancelled when a stop is requested. An exception of the
// call becomes an Error.
template <typename T>
Result<T> call_within(const std::string& what, const CallLimits& limits,
                      std::function<Result<T>()> call) {
    struct Shared {
        Mutex mutex;
        StopCondition done;
        std::optional<Result<T>> result GUARDED_BY(mutex);
    };
    const auto shared = std::make_shared<Shared>();
    Result<Thread> thread = [&] {
        const SignalsBlocked blocked;
        return Thread::start(
            "blocking_call",
            [shared, what, call = std::move(call)](const std::stop_token&) mutable -> Status {
                std::optional<Result<T>> result = catching(what, call);
                // Destroyed before the result is set: afterwards nothing else uses what the call
                // owns.
                call = nullptr;
                const MutexLock lock(shared->mutex);
                shared->result = std::move(result);
                shared->done.notify_all();
                return {};
            },
            [](const Error&) {});
    }();
    if (!thread) return std::move(thread).error().with_context(what);
    thread->detach();
    MutexLock lock(shared->mutex);
    const auto ready = [&]() REQUIRES(shared->mutex) { return shared->result.has_value(); };
    if (!limits.timeout) {
        shared->done.wait(lock, limits.stop, ready);
    } else {
        shared->done.wait_for(lock, limits.stop, *limits.timeout, ready);
    }
    if (shared->result) return *std::exchange(shared->result, std::nullopt);
    internal::note_call_left_behind();
    if (limits.stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
    return make_error(ErrorKind::kTimeout, "{}: no answer within {} ms", what,
                      limits.timeout->count());
}

}  // namespace migrate
