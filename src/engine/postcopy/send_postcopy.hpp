// SPDX-License-Identifier: Apache-2.0
// Post-copy in a sending session: whether it is possible, its begin, and the wait for its end.
// Invariant: once the guest was handed over, the session does not end before the receiver has every
// page, unless the receiver has said that it will never run the guest.
#pragma once

#include <memory>
#include <optional>

#include "base/error.hpp"
#include "engine/postcopy/postcopy_source.hpp"
#include "engine/send/live_source.hpp"
#include "engine/send/send_figures.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"
#include "guest/guest.hpp"

namespace migrate::engine {

class SendPostcopy {
  public:
    // All outlive this object.
    SendPostcopy(const SendConfig& config, const memory::PageSource& source, SessionCore& core,
                 PublishedSend& published)
        : config_(config), source_(source), core_(core), published_(published) {}

    // kUsage or kRefused if post-copy is allowed, and this source cannot do it; null: an image.
    Status check(const guest::Guest* guest) const;
    bool is_allowed() const { return config_.postcopy.is_allowed(); }
    void agreed(const transport::SessionId& session) { session_ = session; }

    // The guest still runs here; after a decision for post-copy. Tells the receiver the pages that
    // are dirty now, or all pages if no round was sent, and returns once it has removed nearly all
    // that will be dirty when the guest is paused.
    Status begin(PeerLink& link, LiveSource& live, bool all);
    // Null before begin().
    PostcopySource* source() { return postcopy_.get(); }
    // The session's threads have ended. Waits until a guest that was handed over has all its
    // pages; returns false if it has not, because it does not run at the receiver. `runs_there`:
    // see PeerLink::peer_runs_guest().
    bool finish(const Status& result, std::optional<bool> runs_there);
    // The text for a user who wants to end the session after the handover.
    std::string warning() const;

  private:
    Status prepare_dirty(PeerLink& link, LiveSource& live);

    const SendConfig& config_;
    const memory::PageSource& source_;
    SessionCore& core_;
    PublishedSend& published_;
    transport::SessionId session_{};
    std::unique_ptr<PostcopySource> postcopy_;
};

}  // namespace migrate::engine
