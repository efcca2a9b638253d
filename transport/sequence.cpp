// SPDX-License-Identifier: Apache-2.0
#include "transport/sequence.hpp"

#include <array>

#include "transport/page_digests.hpp"

namespace migrate::transport {
namespace {

using enum FrameType;

constexpr std::uint8_t kinds(std::initializer_list<SessionKind> list) {
    unsigned bits = 0;
    for (const SessionKind kind : list) bits |= 1U << static_cast<unsigned>(kind);
    return static_cast<std::uint8_t>(bits);
}
constexpr auto kPlain = kinds({SessionKind::kImage});
constexpr auto kImageWithDevices =
    kinds({SessionKind::kImageDevices, SessionKind::kImageDeviceFrames});
constexpr auto kGuests = kinds({SessionKind::kGuest, SessionKind::kGuestDeviceFrames});
constexpr auto kOnChannels = kinds({SessionKind::kImageDevices, SessionKind::kGuest});
constexpr auto kImages = static_cast<std::uint8_t>(kPlain | kImageWithDevices);
constexpr auto kSwitches = static_cast<std::uint8_t>(kImageWithDevices | kGuests);
constexpr auto kAll = static_cast<std::uint8_t>(kImages | kGuests);
// The kinds in which a round can be continued after channels were lost.
constexpr auto kRepaired = static_cast<std::uint8_t>(kPlain | kGuests);

constexpr Party kS = Party::kSender;
constexpr Party kR = Party::kReceiver;

// PROTOCOL.md shows the same as diagrams. With a guest, the sender may send COMPLETE before the
// last ROUND_DONE, but DEVICE_STATE only after it.
constexpr Step kTable[] = {
    {kS, Phase::kStart, kOffer, Phase::kOffered, kAll, Phase::kStart, When::kAlways},
    {kR, Phase::kStart, kRefuse, Phase::kRefused, kAll, Phase::kOffered, When::kAlways},
    {kR, Phase::kStart, kAccept, Phase::kAccepted, kAll, Phase::kOffered, When::kAlways},
    {kR, Phase::kAccepted, kReady, Phase::kReady, kAll, Phase::kOffered, When::kAlways},
    // pages that the receiver has
    {kS, Phase::kOffered, kPageDigests, Phase::kOffered, kAll, Phase::kReady,
     When::kFewDigestsUnanswered},
    {kR, Phase::kReady, kPagesReused, Phase::kReady, kAll, Phase::kOffered,
     When::kDigestsUnanswered},
    // rounds
    {kS, Phase::kOffered, kRoundStart, Phase::kInRound, static_cast<std::uint8_t>(kPlain | kGuests),
     Phase::kReady, When::kDigestsAnswered},
    {kS, Phase::kInRound, kAddChannels, Phase::kInRound, kAll, Phase::kReady,
     When::kAdditionsAnswered},
    {kR, Phase::kReady, kChannelsAdded, Phase::kReady, kAll, Phase::kInRound,
     When::kAdditionUnanswered},
    {kR, Phase::kAcknowledged, kChannelsAdded, Phase::kAcknowledged, kGuests, Phase::kInRound,
     When::kAdditionUnanswered},
    {kS, Phase::kInRound, kRoundEnd, Phase::kRoundEnded, kAll, Phase::kReady,
     When::kAdditionsAnswered},
    {kR, Phase::kReady, kSwitchoverAck, Phase::kAcknowledged, kGuests, Phase::kInRound,
     When::kRoundUnconfirmed},
    {kR, Phase::kReady, kRoundDone, Phase::kReady, kGuests, Phase::kInRound,
     When::kRoundUnconfirmed},
    {kR, Phase::kAcknowledged, kRoundDone, Phase::kAcknowledged, kGuests, Phase::kInRound,
     When::kRoundUnconfirmed},
    // a round that broke, because channels were lost
    {kR, Phase::kReady, kRoundArrived, Phase::kReady, kRepaired, Phase::kInRound,
     When::kRoundUnconfirmed},
    {kR, Phase::kAcknowledged, kRoundArrived, Phase::kAcknowledged, kGuests, Phase::kInRound,
     When::kRoundUnconfirmed},
    {kR, Phase::kReady, kRoundBroken, Phase::kReady, kRepaired, Phase::kInRound,
     When::kRoundUnconfirmed},
    {kR, Phase::kAcknowledged, kRoundBroken, Phase::kAcknowledged, kGuests, Phase::kInRound,
     When::kRoundUnconfirmed},
    {kS, Phase::kRoundEnded, kRoundAgain, Phase::kInRound, kRepaired, Phase::kReady,
     When::kBreakNotContinued},
    {kS, Phase::kCompleted, kRoundAgain, Phase::kInRound, kPlain, Phase::kReady,
     When::kBreakNotContinued},
    {kS, Phase::kRoundEnded, kRoundStart, Phase::kInRound, kPlain, Phase::kReady, When::kAlways},
    {kS, Phase::kRoundEnded, kRoundStart, Phase::kInRound, kGuests, Phase::kReady,
     When::kRoundsConfirmed},
    // post-copy: the pages that come after the handover; the rest of them once the guest is paused
    {kS, Phase::kOffered, kPostcopyPages, Phase::kOffered, kGuests, Phase::kReady,
     When::kDigestsAnswered},
    {kS, Phase::kRoundEnded, kPostcopyPages, Phase::kRoundEnded, kGuests, Phase::kReady,
     When::kRoundsConfirmed},
    {kS, Phase::kOffered, kPostcopyStart, Phase::kPostcopyStarted, kGuests, Phase::kReady,
     When::kDigestsAnswered},
    {kS, Phase::kRoundEnded, kPostcopyStart, Phase::kPostcopyStarted, kGuests, Phase::kReady,
     When::kRoundsConfirmed},
    {kS, Phase::kPostcopyStarted, kPostcopyPages, Phase::kPostcopyStarted, kGuests, Phase::kReady,
     When::kAlways},
    {kS, Phase::kPostcopyStarted, kPostcopyStart, Phase::kPostcopyStarted, kGuests, Phase::kReady,
     When::kAlways},
    {kS, Phase::kPostcopyStarted, kSwitchoverStart, Phase::kSwitchover, kGuests, Phase::kReady,
     When::kAlways},
    {kS, Phase::kLastRoundEnded, kPostcopyPages, Phase::kLastRoundEnded, kGuests, Phase::kReady,
     When::kAlways},
    {kS, Phase::kInDevices, kPostcopyPages, Phase::kInDevices, kGuests, Phase::kReady,
     When::kAlways},
    // the switchover
    {kS, Phase::kOffered, kSwitchoverStart, Phase::kSwitchover, kSwitches, Phase::kReady,
     When::kDigestsAnswered},
    {kS, Phase::kRoundEnded, kSwitchoverStart, Phase::kSwitchover, kGuests, Phase::kReady,
     When::kRoundsConfirmed},
    {kS, Phase::kSwitchover, kRoundStart, Phase::kInLastRound, kSwitches, Phase::kReady,
     When::kAlways},
    {kS, Phase::kInLastRound, kAddChannels, Phase::kInLastRound, kImageWithDevices, Phase::kReady,
     When::kAdditionsAnswered},
    {kS, Phase::kInLastRound, kRoundEnd, Phase::kLastRoundEnded, kSwitches, Phase::kReady,
     When::kAdditionsAnswered},
    {kS, Phase::kLastRoundEnded, kDeviceState, Phase::kInDevices,
     kinds({SessionKind::kImageDeviceFrames}), Phase::kReady, When::kAlways},
    {kS, Phase::kLastRoundEnded, kDeviceState, Phase::kInDevices,
     kinds({SessionKind::kGuestDeviceFrames}), Phase::kReady, When::kRoundsConfirmed},
    {kS, Phase::kInDevices, kDeviceState, Phase::kInDevices, kSwitches, Phase::kReady,
     When::kAlways},
    // the end
    {kS, Phase::kRoundEnded, kComplete, Phase::kCompleted, kPlain, Phase::kReady, When::kAlways},
    {kS, Phase::kLastRoundEnded, kComplete, Phase::kCompleted, kOnChannels, Phase::kReady,
     When::kAlways},
    {kS, Phase::kInDevices, kComplete, Phase::kCompleted, kSwitches, Phase::kReady, When::kAlways},
    {kR, Phase::kReady, kDone, Phase::kDone, kImages, Phase::kCompleted, When::kAlways},
    {kR, Phase::kReady, kLoaded, Phase::kLoaded, kGuests, Phase::kCompleted,
     When::kRoundsConfirmed},
    {kR, Phase::kAcknowledged, kLoaded, Phase::kLoaded, kGuests, Phase::kCompleted,
     When::kRoundsConfirmed},
    {kS, Phase::kCompleted, kHandover, Phase::kHandedOver, kGuests, Phase::kLoaded, When::kAlways},
    {kR, Phase::kLoaded, kDone, Phase::kDone, kGuests, Phase::kHandedOver, When::kAlways},
    {kS, Phase::kCompleted, kDoneAck, Phase::kConfirmed, kPlain, Phase::kDone,
     When::kDoneIsAcknowledged},
    {kS, Phase::kHandedOver, kDoneAck, Phase::kConfirmed, kGuests, Phase::kDone,
     When::kDoneIsAcknowledged},
};

}  // namespace

std::string FrameSet::names() const {
    std::string text;
    for (std::uint16_t value = 1; value < 32; ++value) {
        const auto type = static_cast<FrameType>(value);
        if (!has(type)) continue;
        if (!text.empty()) text += " or ";
        text += name_of(type);
    }
    return text.empty() ? "no frame" : text;
}

SessionKind session_kind(bool guest, bool devices, bool on_channels) {
    if (guest) return on_channels ? SessionKind::kGuest : SessionKind::kGuestDeviceFrames;
    if (!devices) return SessionKind::kImage;
    return on_channels ? SessionKind::kImageDevices : SessionKind::kImageDeviceFrames;
}

LastFrame last_frame(SessionKind kind, bool repairs) {
    const bool survives = ((kPlain | kGuests) & kinds({kind})) != 0;
    return repairs && survives ? LastFrame::kDoneAck : LastFrame::kDone;
}

std::span<const Step> sequence_table() { return kTable; }

bool Sequence::may_follow(const Step& step) const {
    if (step.at != of(step.by).phase || !step.in(kind_)) return false;
    const bool for_postcopy = step.frame == kPostcopyPages || step.frame == kPostcopyStart;
    if ((for_postcopy || step.at == Phase::kPostcopyStarted) && !postcopy_) return false;
    if (of(other(step.by)).phase < step.after) return false;
    switch (step.when) {
        case When::kAlways:
            break;
        case When::kRoundsConfirmed:
            return receiver_.rounds == sender_.rounds;
        case When::kRoundUnconfirmed:
            return receiver_.rounds < sender_.rounds && receiver_.breaks == sender_.breaks;
        case When::kAdditionsAnswered:
            return receiver_.additions == sender_.additions;
        case When::kAdditionUnanswered:
            return receiver_.additions < sender_.additions;
        case When::kDigestsAnswered:
            return receiver_.digests == sender_.digests;
        case When::kDigestsUnanswered:
            return receiver_.digests < sender_.digests;
        case When::kFewDigestsUnanswered:
            return sender_.digests - receiver_.digests < kMostUnansweredDigests;
        case When::kBreakNotContinued:
            return receiver_.breaks > sender_.breaks;
        case When::kDoneIsAcknowledged:
            return last_ == LastFrame::kDoneAck;
    }
    return true;
}

void Sequence::resume(std::uint32_t round, bool complete) {
    const bool guest = kind_ == SessionKind::kGuest || kind_ == SessionKind::kGuestDeviceFrames;
    const std::uint32_t ended = complete ? round : round - 1;
    const Phase ended_phase = round == 0 ? Phase::kOffered : Phase::kRoundEnded;
    sender_ = {.phase = complete ? ended_phase : Phase::kInRound, .rounds = ended};
    receiver_ = {.phase = guest && ended != 0 ? Phase::kAcknowledged : Phase::kReady,
                 .rounds = guest ? ended : 0};
    interrupted_ = false;
}

void Sequence::resume_handover(bool came) {
    sender_.phase = came ? Phase::kHandedOver : Phase::kCompleted;
    receiver_ = {.phase = Phase::kLoaded, .rounds = sender_.rounds};
    interrupted_ = false;
}

FrameSet Sequence::allowed(Party by) const {
    FrameSet frames;
    if (interrupted_) {
        if (by == kR) frames.add(kResumed);
        return frames;
    }
    for (const Step& step : kTable) {
        if (step.by == by && may_follow(step)) frames.add(step.frame);
    }
    return frames;
}

Status Sequence::pass(Party by, FrameType frame) {
    if (interrupted_ && by == kR && frame == kResumed) return {};
    for (const Step& step : kTable) {
        if (interrupted_ || step.by != by || step.frame != frame || !may_follow(step)) continue;
        Progress& progress = of(by);
        progress.phase = step.then;
        if (frame == kRoundEnd || frame == kRoundDone) ++progress.rounds;
        if (frame == kAddChannels || frame == kChannelsAdded) ++progress.additions;
        if (frame == kPageDigests || frame == kPagesReused) ++progress.digests;
        if (frame == kRoundBroken || frame == kRoundAgain) ++progress.breaks;
        // The round is continued, so the sender has not ended it.
        if (frame == kRoundAgain) --progress.rounds;
        return {};
    }
    return make_error(ErrorKind::kProtocol, "expected {} from the {}, got {}", allowed(by).names(),
                      by == kS ? "sender" : "receiver", name_of(frame));
}

}  // namespace migrate::transport
