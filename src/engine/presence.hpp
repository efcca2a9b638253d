// Says that the thread which runs a session is there. Each side's run() holds one from beginning to
// end. Invariant: when that thread leaves without having settled the session (an exception that
// nobody caught, a return too early), the session fails; its link, which sends heartbeats only
// while the session has not failed, then tells the peer so and is silent. A phase may take as long
// as it likes (a digest, a device, a wait for migrate-continue): the thread that is in it is there,
// and each wait of its own has a limit.
#pragma once

#include "base/cancellation.hpp"

namespace migrate::engine {

class Presence {
  public:
    // `cancellation` outlives it.
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
