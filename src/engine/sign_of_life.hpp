// SPDX-License-Identifier: Apache-2.0
// Tells a sender that the receiver lives while it prepares its sink, which may take long (memory
// that is filled, huge pages on a slow host). Invariant: nothing but whole HEARTBEAT frames is
// sent, and nothing any more once this is destroyed.
#pragma once

#include <chrono>

#include "base/error.hpp"
#include "base/thread.hpp"
#include "transport/socket.hpp"

namespace migrate::engine {

// Well below the shortest handshake-timeout (option_table.hpp), by which a sender judges silence.
inline constexpr std::chrono::milliseconds kSignOfLifeInterval{25};

class SignOfLife {
  public:
    // `socket` outlives this object, and no other thread uses it meanwhile. The first heartbeat is
    // sent after one interval; none is sent if the thread cannot be started.
    explicit SignOfLife(transport::Socket& socket);

  private:
    Thread thread_;
};

}  // namespace migrate::engine
