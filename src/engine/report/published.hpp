// The state of a running session that report() and other threads may read. Invariant: nobody
// touches it without its lock, and what one lock covers is seen as a whole.
#pragma once

#include <mutex>

namespace migrate::engine {

template <typename State>
class Published {
  public:
    // Access to the state; nobody else has access meanwhile.
    template <typename Seen>
    class Access {
      public:
        Access(std::mutex& mutex, Seen& state) : lock_(mutex), state_(state) {}
        Seen* operator->() const { return &state_; }
        Seen& operator*() const { return state_; }

      private:
        std::scoped_lock<std::mutex> lock_;
        Seen& state_;
    };

    Access<State> lock() { return {mutex_, state_}; }
    Access<const State> lock() const { return {mutex_, state_}; }

  private:
    mutable std::mutex mutex_;
    State state_;  // guarded by mutex_
};

}  // namespace migrate::engine
