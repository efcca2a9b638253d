// SPDX-License-Identifier: Apache-2.0
// The sending side's handshake: connects the main channel, offers what the sender decides, and
// takes the receiver's answer; then connects the data channels.
#pragma once

#include <memory>
#include <optional>

#include "engine/checksum_choice.hpp"
#include "engine/link_times.hpp"
#include "engine/peer_link.hpp"
#include "engine/send/live_source.hpp"
#include "engine/send/paths.hpp"
#include "engine/send/send_devices.hpp"
#include "engine/session_config.hpp"
#include "engine/session_core.hpp"
#include "memory/digest_key.hpp"
#include "memory/source/page_source.hpp"
#include "transport/handshake.hpp"
#include "transport/socket.hpp"

namespace migrate::engine {

// `live`: null for an image.
transport::Offer make_offer(const SendConfig& config, const memory::PageSource& source,
                            const LiveSource* live, const SendDevices& devices);
// Connects to the receiver and sends hello and OFFER. The link's thread runs from now on.
Result<std::unique_ptr<PeerLink>> connect_link(const SendConfig& config, Paths& paths,
                                               const transport::Offer& offer, SessionCore& core);

// The terms that both sides agreed on.
struct Agreement {
    transport::Accept accepted;
    LinkTimes times;
    ChecksumChoice checksums;
    // The receiver has pages already, and asks for digests with this key.
    std::optional<memory::DigestKey> reuse_key;
};
// Waits for the receiver, which may prepare for long, and tells `devices` and the link what it
// accepted. kRefused with the receiver's reason.
Result<Agreement> negotiate(PeerLink& link, const SendConfig& config, bool guest,
                            SendDevices& devices);
// The round trip between the last connection and READY, which came after `waited`: without the time
// in which the receiver prepared itself. At least 1 µs, since the receiver's clock may be faster.
Microseconds round_trip_of(Microseconds waited, const transport::Ready& ready);

}  // namespace migrate::engine
