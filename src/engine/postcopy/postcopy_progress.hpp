// SPDX-License-Identifier: Apache-2.0
// Where post-copy is, for the session's thread that follows it and for reports. Invariant: the
// state leaves kComplete never. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/mutex.hpp"
#include "engine/convergence/convergence_types.hpp"

namespace migrate::engine {

enum class PostcopyState : std::uint8_t {
    kNone,      // the guest does not run at the receiver yet
    kActive,    // it runs there, and pages come
    kPaused,    // the connections were lost
    kRecover,   // they are there again, and the sides agree on what is missing
    kComplete,  // every page is in place
};

class PostcopyProgress {
  public:
    using Clock = std::chrono::steady_clock;

    // Returns false, without an effect, if it is complete. `reason`: why it is paused.
    bool set(PostcopyState state, std::string reason = {});
    PostcopyState state() const;
    std::string reason() const;
    // Ends a wait for a change.
    void stop();
    // Waits until the state is another one; returns it, or nothing after stop().
    std::optional<PostcopyState> await_change(PostcopyState from);

    struct Figures {
        PostcopyState state = PostcopyState::kNone;
        Microseconds duration{};  // since the guest ran at the receiver; until all was in place
        std::uint64_t interruptions = 0;
        Microseconds paused{};  // the part of the duration in which no page could come
    };
    Figures figures() const;

  private:
    bool is_interrupted() const REQUIRES(mutex_) {
        return state_ == PostcopyState::kPaused || state_ == PostcopyState::kRecover;
    }

    mutable Mutex mutex_;
    Condition changed_;
    PostcopyState state_ GUARDED_BY(mutex_) = PostcopyState::kNone;
    std::string reason_ GUARDED_BY(mutex_);
    bool stopped_ GUARDED_BY(mutex_) = false;
    std::optional<Clock::time_point> began_ GUARDED_BY(mutex_);
    std::optional<Clock::time_point> ended_ GUARDED_BY(mutex_);
    std::optional<Clock::time_point> paused_at_ GUARDED_BY(mutex_);
    std::uint64_t interruptions_ GUARDED_BY(mutex_) = 0;
    Clock::duration paused_ GUARDED_BY(mutex_){};
};

}  // namespace migrate::engine
