// Calls that can neither be cancelled nor given a deadline: getaddrinfo(), open() on a file system
// that does not answer, filling memory. Invariant: the caller waits no longer than it says; a call
// that takes longer is left behind on its own thread, with everything that it uses.
#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "base/error.hpp"
#include "base/thread.hpp"

namespace migrate {

// Whether some call was left behind: then the program ends by _exit(), because that thread still
// uses what static destructors take away.
bool calls_left_behind();

namespace internal {
void note_call_left_behind();
}

struct CallLimits {
    std::optional<std::chrono::milliseconds> timeout{};  // none: no limit
    std::stop_token stop{};
};

// Runs `call`, which owns everything that it uses, on a thread of its own. kTimeout after the
// timeout ("WHAT: no answer within N ms"), kCancelled when stop is requested. An exception of the
// call is an Error.
template <typename T>
Result<T> call_within(const std::string& what, const CallLimits& limits,
                      std::function<Result<T>()> call) {
    struct Shared {
        std::mutex mutex;
        std::condition_variable_any done;
        std::optional<Result<T>> result;  // guarded by mutex
    };
    const auto shared = std::make_shared<Shared>();
    try {
        const SignalsBlocked blocked;
        std::thread([shared, what, call = std::move(call)]() mutable {
            name_this_thread("blocking_call");
            std::optional<Result<T>> result;
            try {
                result.emplace(call());
            } catch (const std::exception& exception) {
                result.emplace(make_error("{}: {}", what, exception.what()));
            }
            // Before the result is there: what the call owns belongs to nobody else afterwards.
            call = nullptr;
            const std::scoped_lock lock(shared->mutex);
            shared->result = std::move(result);
            shared->done.notify_all();
        }).detach();
    } catch (const std::exception& exception) {
        return make_error("cannot start a thread for this: {}: {}", what, exception.what());
    }
    std::unique_lock lock(shared->mutex);
    const auto ready = [&] { return shared->result.has_value(); };
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
