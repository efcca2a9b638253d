// SPDX-License-Identifier: Apache-2.0
// The time that a digest of all memory will take while the guest is paused, measured while it runs
// (see DigestMeter). Without verify=digest it is 0 and nothing is read.
#pragma once

#include "engine/send/digest_meter.hpp"
#include "engine/send/live_source.hpp"
#include "engine/send/send_parts.hpp"

namespace migrate::engine {

class DigestCosts {
  public:
    // All outlive this object.
    DigestCosts(const SendParts& parts, LiveSource& live)
        : parts_(parts), live_(live), meter_(parts.source, digest_threads()) {}

    // Before any page is sent: reads populated pages. A page that this read fills is sent anyway.
    Status measure_first();
    // Between rounds, if another sample is cheap enough now: reads pages that were sent with
    // content.
    Status measure_again();
    bool due() const {
        return parts_.config.negotiated.verify() && meter_.due(parts_.core.active_time());
    }
    // After the first round, when it is known how much memory a digest reads.
    void count();
    Microseconds expected() const { return expected_; }

  private:
    const SendParts& parts_;
    LiveSource& live_;
    DigestMeter meter_;
    std::uint64_t zero_pages_ = 0;  // of the first round; a digest reads them, too
    Microseconds expected_{};
};

}  // namespace migrate::engine
