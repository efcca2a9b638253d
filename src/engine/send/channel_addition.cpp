// SPDX-License-Identifier: Apache-2.0
#include "engine/send/channel_addition.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "transport/handshake.hpp"

namespace migrate::engine {

using transport::FrameType;

namespace {

// The path is known to work, so that a connection that takes longer met an obstacle. The end of a
// round may have to wait for it.
constexpr std::chrono::milliseconds kConnectLimit{1000};

// Makes the connections, and says hello on each.
Status connect(const AdditionNeeds& needs, const Paths::Further& further) {
    MIGRATE_ASSIGN(auto sockets,
                   needs.paths.connect_further(further, needs.agreement.times, needs.core.token()));
    return needs.channels.prepare(std::move(sockets), needs.agreement.accepted.session);
}

Status announce(const AdditionNeeds& needs, std::uint16_t wanted) {
    return needs.link.send(FrameType::kAddChannels,
                           transport::encode(transport::ChannelCount{
                               .channels = wanted, .lost = needs.channels.losses().unsettled()}));
}

// Returns how many channels the receiver has now.
Result<transport::ChannelCount> take_answer(const AdditionNeeds& needs, std::uint16_t wanted) {
    // The receiver answers within 2 s, and a busy one later. handshake-timeout may be shorter.
    const std::chrono::milliseconds longest = needs.agreement.times.data.busy;
    const Result<transport::Frame> frame = needs.link.expect({FrameType::kChannelsAdded}, longest);
    if (!frame && frame.error().kind() == ErrorKind::kTimeout) {
        return make_error(ErrorKind::kTimeout,
                          "the receiver did not answer ADD_CHANNELS within {} ms (io-timeout)",
                          longest.count());
    }
    if (!frame) return frame.error();
    MIGRATE_ASSIGN(transport::ChannelCount answer, transport::decode_channel_count(frame->body));
    const std::uint16_t present = needs.channels.count();
    if (answer.channels >= present && answer.channels <= wanted) return answer;
    return make_error(ErrorKind::kProtocol,
                      "the receiver has {} channels; {} were connected and up to {} were added",
                      answer.channels, present, wanted);
}

}  // namespace

// A connection is made by the receiver's kernel, so the receiver hears only of connections that it
// can take. A TLS handshake needs the receiver, which takes part only once it expects the
// connection.
Result<Addition> add_channels(const AdditionNeeds& needs, std::span<const std::uint16_t> paths) {
    const std::uint16_t present = needs.channels.count();
    const auto wanted = static_cast<std::uint16_t>(present + paths.size());
    Paths::Further further{.paths = paths,
                           .limit = std::min(needs.config.connect_timeout, kConnectLimit),
                           .all = wanted};
    bool announced = false;
    Status told;
    if (needs.link.security().is_encrypted()) {
        further.connected = [&] {
            announced = true;
            return told = announce(needs, wanted);
        };
    }
    const Status connected = connect(needs, further);
    if (!told) return told.error();
    if (!connected && needs.core.stopped()) return connected.error();
    if (connected && !announced) MIGRATE_TRY(announce(needs, wanted));
    Addition addition{.connected = bool(connected), .channels = present};
    if (connected || announced) {
        MIGRATE_ASSIGN(transport::ChannelCount answer, take_answer(needs, wanted));
        addition.channels = answer.channels;
        addition.reason = std::move(answer.reason);
    }
    if (!connected) {
        // A receiver that has taken them waits for what this side cannot send.
        if (addition.channels != present) return connected.error();
        addition.reason = connected.error().message();
    }
    // Also ends those that were connected before another one failed.
    needs.channels.admit(addition.channels);
    return addition;
}

}  // namespace migrate::engine
