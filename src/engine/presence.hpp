// SPDX-License-Identifier: Apache-2.0
// Shows that the thread which runs a session exists. Each side's run() holds one from beginning to
// end. Invariant: if that thread leaves without settling the session (an uncaught exception, an
// early return), the session fails. Its link sends heartbeats only while the session has not
// failed; it then tells the peer and falls silent. A phase may take any time (a digest, a device, a
// wait for migrate-continue): the thread in it exists, and each wait of its own has a limit.
#pragma once

#include "base/cancellation.hpp"

namespace migrate::engine {

class Presence {
  public:
    // `cancellation` outlives this object.
    explicit Presence(Cancellation& cancellation) : cancellation_(cancellation) {}
    ~Presence() {
        if (settled_) return;
        try {
            cancellation_.fail(Error("the thread that runs the session left it unsettled"));
        } catch (...) {
            cancellation_.fail(Error(ErrorKind::kFailed, "session died"));
        }
    }
    Presence(const Presence&) = delete;
    Presence& operator=(const Presence&) = delete;

    void settled() { settled_ = true; }

  private:
    Cancellation& cancellation_;
    bool settled_ = false;
};

}  // namespace migrate::engine
