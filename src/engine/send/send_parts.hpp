// SPDX-License-Identifier: Apache-2.0
// The parts of a sending session that its phases share: the image's transfer, the rounds before the
// switchover, and the switchover.
#pragma once

#include "engine/postcopy/send_postcopy.hpp"
#include "engine/send/guest_custody.hpp"
#include "engine/send/live_control.hpp"
#include "engine/send/reuse_query.hpp"
#include "engine/send/round_sender.hpp"
#include "engine/send/send_devices.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"
#include "memory/source/page_source.hpp"

namespace migrate::engine {

// All outlive the phase that uses them.
struct SendParts {
    const SendConfig& config;
    const memory::PageSource& source;
    SessionCore& core;
    PublishedSend& published;
    LiveControl& control;
    GuestCustody& custody;
    SendDevices& devices;
    PeerLink& link;
    SendChannelGroup& channels;
    RoundSender& rounds;
    ReuseQuery& reuse;
    SendPostcopy& postcopy;

    // The plan of the first round.
    RoundPlan all_pages() const {
        return reuse.without_reused(
            RoundPlan::all(source.regions(), config.negotiated.most_channels()));
    }
};

// Number of threads that compute a digest of all memory.
unsigned digest_threads();
// Checks the source, and returns the totals, with the digests if they were agreed on.
Result<transport::Completion> make_completion(const SendParts& parts);
// DONE came: checks that the receiver counted the same pages, and tells it that DONE came.
Result<transport::Done> take_done(const SendParts& parts, const transport::Frame& frame,
                                  const transport::Completion& completion);

// Sends an image, which nobody writes: one round, which is its last.
Status migrate_image(const SendParts& parts);

}  // namespace migrate::engine
