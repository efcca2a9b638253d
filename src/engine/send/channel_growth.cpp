#include "engine/send/channel_growth.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {

using transport::FrameType;

namespace {

// The path is known to work, so that a connection that takes longer met an obstacle. The end of a
// round may have to wait for it.
constexpr std::chrono::milliseconds kConnectLimit{1000};

std::uint16_t most_channels(const SendConfig& config, const Agreement& agreement) {
    const std::uint16_t here = config.negotiated.most_channels();
    return std::min(here, agreement.accepted.most_channels.value_or(config.negotiated.channels()));
}

}  // namespace

ChannelGrowth::ChannelGrowth(const Needs& needs, Microseconds answer)
    : needs_(needs),
      tuner_(needs.channels.count(), most_channels(needs.config, needs.agreement), answer,
             needs.config.channel_tuning) {
    if (needs.config.detection == ZeroPageDetection::kLegacy) {
        tuner_.stop(ChannelLimit::kOneScanner,
                    "zero-page-detection=legacy: one thread fills the packets of all channels");
    } else if (!needs.agreement.accepted.most_channels) {
        tuner_.stop(ChannelLimit::kReceiver,
                    "the receiver's program cannot add channels while it runs");
    }
    publish();
}

// Counts what the receiver's host has acknowledged: a new channel fills its socket's buffer faster
// than the path carries it.
ChannelProgress ChannelGrowth::progress() const {
    const std::uint64_t under_way = needs_.channels.bytes_under_way();
    const std::uint64_t bytes = needs_.channels.bytes();
    const std::uint64_t pages = needs_.channels.pages().total();
    return {RoundGate::Clock::now(), bytes - std::min(bytes, under_way),
            pages - std::min(pages, under_way / kPageSize)};
}

void ChannelGrowth::begin() {
    if (!tuner_.goes_on()) return;
    tuner_.begin(progress());
    load_.reset();
    next_look_ = RoundGate::Clock::now() + tuner_.interval();
}

std::optional<RoundGate::Clock::time_point> ChannelGrowth::next_look() const {
    if (!tuner_.goes_on()) return std::nullopt;
    return next_look_;
}

Status ChannelGrowth::look() {
    // No decision falls at the end of a first interval, so that a short round does not pay for
    // this.
    const CpuUse cpus = load_ ? load_->since_last() : CpuUse();
    if (!load_) load_.emplace();
    const ChannelHost host{cpus, needs_.control.tunables().max_bandwidth};
    const std::uint16_t wanted = tuner_.judge(progress(), host);
    if (wanted > needs_.channels.count()) {
        MIGRATE_TRY(add(wanted));
        begin();
    }
    next_look_ = RoundGate::Clock::now() + tuner_.interval();
    publish();
    return {};
}

Status ChannelGrowth::add(std::uint16_t wanted) {
    SendConfig config = needs_.config;
    config.connect_timeout = std::min(config.connect_timeout, kConnectLimit);
    const std::uint16_t present = needs_.channels.count();
    Result<std::vector<transport::Socket>> sockets =
        connect_channels(needs_.link, config, needs_.agreement.times,
                         {.count = static_cast<std::uint16_t>(wanted - present), .all = wanted},
                         needs_.core.token());
    Status prepared =
        sockets ? needs_.channels.prepare(*std::move(sockets), needs_.agreement.accepted.session)
                : Status(std::move(sockets).error());
    if (!prepared) {
        if (needs_.core.stopped()) return prepared;
        tuner_.stop(ChannelLimit::kConnection, prepared.error().message());
        return {};
    }
    MIGRATE_ASSIGN(const transport::ChannelCount answer, ask(wanted));
    needs_.channels.admit(answer.channels);
    tuner_.added(answer.channels);
    if (answer.channels < wanted) {
        tuner_.stop(ChannelLimit::kReceiver,
                    fmt::format("the receiver took no further channel: {}", answer.reason));
    }
    if (answer.channels > present) {
        log::debug("{} channels instead of {}", answer.channels, present);
        needs_.core.events().emit("MULTIFD_CHANNELS_ADDED",
                                  {{"channels", std::uint64_t{answer.channels}}});
    }
    return {};
}

// Tells the receiver that these channels are connected, and returns how many it has now.
Result<transport::ChannelCount> ChannelGrowth::ask(std::uint16_t wanted) {
    const std::uint16_t present = needs_.channels.count();
    MIGRATE_TRY(needs_.link.send(FrameType::kAddChannels,
                                 transport::encode(transport::ChannelCount{wanted})));
    // The receiver answers within 2 s, and a busy one later. handshake-timeout may be shorter.
    const std::chrono::milliseconds longest = needs_.agreement.times.data.busy;
    const Result<transport::Frame> frame = needs_.link.expect({FrameType::kChannelsAdded}, longest);
    if (!frame && frame.error().kind() == ErrorKind::kTimeout) {
        return make_error(ErrorKind::kTimeout,
                          "the receiver did not answer ADD_CHANNELS within {} ms (io-timeout)",
                          longest.count());
    }
    if (!frame) return frame.error();
    MIGRATE_ASSIGN(transport::ChannelCount answer, transport::decode_channel_count(frame->body));
    if (answer.channels >= present && answer.channels <= wanted) return answer;
    return make_error(ErrorKind::kProtocol,
                      "the receiver has {} channels; {} were connected and up to {} were added",
                      answer.channels, present, wanted);
}

void ChannelGrowth::publish() {
    const auto published = needs_.published.lock();
    published->channel_limit = tuner_.limit();
    published->channel_reason = tuner_.reason();
}

}  // namespace migrate::engine
