// Tells a sender that the receiver lives while it prepares its sink, which may take long (memory
// that is filled, huge pages on a slow host). Invariant: nothing but whole HEARTBEAT frames is
// sent, and nothing any more once this is destroyed.
#pragma once

#include <chrono>

#include "base/error.hpp"
#include "base/thread.hpp"

namespace migrate::engine {

// Well below the least handshake-timeout (option_table.cpp), which a sender judges silence by.
inline constexpr std::chrono::milliseconds kSignOfLifeInterval{25};

class SignOfLife {
  public:
    // On a connected socket, which outlives this and to which nobody else writes meanwhile. The
    // first one is sent after an interval. Where the system has no room for its thread, none is.
    explicit SignOfLife(int socket);

  private:
    Thread thread_;
};

}  // namespace migrate::engine
