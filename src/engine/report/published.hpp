// SPDX-License-Identifier: Apache-2.0
// The state of a running session that report() and other threads may read. Invariant: code reaches
// the state only through an Access, which holds the lock, so that a reader sees the whole of one
// moment.
#pragma once

#include "base/mutex.hpp"

namespace migrate::engine {

// Access to a published state; no other thread has access meanwhile.
template <typename Seen>
class Access {
  public:
    Access(Mutex& mutex, Seen& state) : lock_(mutex), state_(state) {}
    Seen* operator->() const { return &state_; }
    Seen& operator*() const { return state_; }

  private:
    MutexLock lock_;
    Seen& state_;
};

// One member of a published state, for code that does not know the rest.
template <typename Part>
class PublishedPart {
  public:
    // Both outlive this object.
    PublishedPart(Mutex& mutex, Part& part) : mutex_(mutex), part_(part) {}
    Access<Part> lock() const { return {mutex_, part_}; }

  private:
    Mutex& mutex_;
    Part& part_;
};

// clang checks none of these functions, because it does not see that an Access holds the mutex as
// long as it has the state.
template <typename State>
class Published {
  public:
    Access<State> lock() NO_THREAD_SAFETY_ANALYSIS { return {mutex_, state_}; }
    Access<const State> lock() const NO_THREAD_SAFETY_ANALYSIS { return {mutex_, state_}; }
    template <typename Part>
    PublishedPart<Part> part(Part State::*member) NO_THREAD_SAFETY_ANALYSIS {
        return {mutex_, state_.*member};
    }

  private:
    mutable Mutex mutex_;
    State state_ GUARDED_BY(mutex_);
};

}  // namespace migrate::engine
