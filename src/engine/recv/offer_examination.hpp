// SPDX-License-Identifier: Apache-2.0
// Examines a sender's offer: whether this receiver can serve it, and prepares the sink for it.
// Invariant: an offer that is refused leaves nothing behind.
#pragma once

#include <string>
#include <vector>

#include "engine/recv/recv_devices.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"
#include "guest/guest.hpp"
#include "transport/offer.hpp"

namespace migrate::engine {

class OfferExamination {
  public:
    // All outlive this object. `destination`: its memory is null between two senders.
    OfferExamination(const RecvConfig& config, SessionCore& core, guest::Destination& destination,
                     RecvDevices& devices)
        : config_(config), core_(core), destination_(destination), devices_(devices) {}

    // Decodes the offer, checks that this side can serve it, and prepares the sink for it. The
    // Error is for the sender.
    Result<transport::Offer> examine(const std::string& body);
    // Texts about the last offer that the sender's user should read.
    const std::vector<std::string>& warnings() const { return warnings_; }

  private:
    // Refuses a sender of another guest than the one that this side waits for.
    Status check_name(const transport::Offer& offer) const;
    Status check_extras(const transport::Offer& offer) const;
    Status check_journey(const transport::Journey& journey) const;
    Status prepare(const transport::Offer& offer);
    // Compares the regions with what the sink can take in. A guest of which little was written to
    // may fit nevertheless, so that no sender is refused.
    void warn_of_little_room(const transport::Offer& offer);

    const RecvConfig& config_;
    SessionCore& core_;
    guest::Destination& destination_;
    RecvDevices& devices_;
    std::vector<std::string> warnings_;
};

}  // namespace migrate::engine
