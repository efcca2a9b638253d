// SPDX-License-Identifier: Apache-2.0
// A VMM's guest, whose functions call the VMM's callbacks. Invariants: no exception of a callback
// goes on into the engine; the VMM is asked to pause and to resume in turn, never twice the same.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "base/catching.hpp"
#include "base/error.hpp"
#include "base/mutex.hpp"
#include "guest/guest.hpp"
#include "lib/migrate/migrate.h"

// Lives as long as one call of save_state.
struct migrate_buffer {
    std::string bytes;
    bool failed = false;
};

namespace migrate::lib {

// The callbacks that the VMM gave, with a copy of their texts.
struct Callbacks {
    struct migrate_guest given {};  // `kind` is not used
    std::string kind;               // as on the wire: "vmm:KIND"
    // Held during each callback: the engine saves the state and collects dirty pages on two
    // threads.
    std::shared_ptr<Mutex> one_at_a_time = std::make_shared<Mutex>();

    bool has_dirty_log() const { return given.dirty_start != nullptr; }
};

// Checks the struct and copies it. kUsage.
Result<Callbacks> copy_callbacks(const struct migrate_guest& guest);

// Calls `callback`, which returns 0 or fails and may write its reason to the text that it gets.
// `name` is for the error.
template <typename Callback>
Status call_back(const Callbacks& callbacks, std::string_view name, Callback&& callback) {
    return catching(name, [&]() -> Status {
        const MutexLock lock(*callbacks.one_at_a_time);
        char reason[MIGRATE_ERROR_BYTES] = {};
        if (callback(reason) == 0) return {};
        reason[sizeof reason - 1] = '\0';
        return make_error("the VMM's {} failed: {}", name,
                          reason[0] != '\0' ? reason : "it gave no reason");
    });
}

class CallbackGuest final : public guest::Guest {
  public:
    // A guest of this host runs; one that arrived is paused.
    enum class Origin { kHere, kArrived };
    CallbackGuest(std::shared_ptr<const Callbacks> callbacks, Origin origin)
        : callbacks_(std::move(callbacks)), origin_(origin), running_(origin == Origin::kHere) {}

    bool lives_here() const override { return false; }
    std::string_view kind() const override { return callbacks_->kind; }
    bool running() const override { return running_; }
    Status pause() override;
    Status resume() override;
    Status throttle(unsigned percent) override;
    Result<std::string> save_state() override;
    // The VMM says nothing about its guest's writes.
    guest::Activity activity() const override;
    Status check() override { return {}; }

  private:
    using Clock = std::chrono::steady_clock;

    const std::shared_ptr<const Callbacks> callbacks_;
    const Origin origin_;
    std::atomic<bool> running_;
    const Clock::time_point began_ = Clock::now();
};

class CallbackLoader final : public guest::GuestLoader {
  public:
    // Null: memory alone is received.
    explicit CallbackLoader(std::shared_ptr<const Callbacks> callbacks)
        : callbacks_(std::move(callbacks)) {}

    Status check_ready(const guest::GuestOffer& offer) override;
    Result<std::unique_ptr<guest::Guest>> load(std::string_view state,
                                               const std::stop_token& stop) override;

  private:
    const std::shared_ptr<const Callbacks> callbacks_;
};

}  // namespace migrate::lib
