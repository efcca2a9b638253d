// SPDX-License-Identifier: Apache-2.0
// The order of frames on the main channel: one table of which frame may follow which. Both sides
// check every frame that they send or take against it. Invariant: a side never takes a frame that
// the table does not allow, whatever the peer sends. HEARTBEAT and FAILURE may come at any time and
// are not in the table.
#pragma once

#include <bit>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "base/error.hpp"
#include "transport/control_frame.hpp"

namespace migrate::transport {

// A set of frame types.
class FrameSet {
  public:
    constexpr FrameSet() = default;
    constexpr FrameSet(std::initializer_list<FrameType> types) {
        for (const FrameType type : types) add(type);
    }
    constexpr void add(FrameType type) { bits_ |= bit(type); }
    constexpr bool has(FrameType type) const { return (bits_ & bit(type)) != 0; }
    constexpr bool empty() const { return bits_ == 0; }
    // The type with the lowest value. Not called on an empty set.
    FrameType first() const { return static_cast<FrameType>(std::countr_zero(bits_)); }
    // The names in the order of their values: "ROUND_DONE or SWITCHOVER_ACK"; "no frame" if empty.
    std::string names() const;

  private:
    static constexpr std::uint32_t bit(FrameType type) {
        return std::uint32_t{1} << static_cast<std::uint16_t>(type);
    }
    std::uint32_t bits_ = 0;
};

enum class Party : std::uint8_t { kSender, kReceiver };
constexpr Party other(Party party) {
    return party == Party::kSender ? Party::kReceiver : Party::kSender;
}

// The content that a session moves. It decides which frames occur.
enum class SessionKind : std::uint8_t {
    kImage,              // memory alone
    kImageDevices,       // an image with devices; their state comes on the data channels
    kImageDeviceFrames,  // an image with devices; their state comes as DEVICE_STATE frames
    kGuest,              // a guest; its state and that of devices come on the data channels
    kGuestDeviceFrames,  // a guest; its state and that of devices come as DEVICE_STATE frames
};
SessionKind session_kind(bool guest, bool devices, bool on_channels);

// The frame that ends a session without a failure. kDoneAck was agreed on if the main channel may
// be lost and made again: the receiver then knows that the sender has DONE.
enum class LastFrame : std::uint8_t { kDone, kDoneAck };
// `repairs`: both sides have named reconnect-timeout. A session that moves devices of an image does
// not survive the loss of its main channel.
LastFrame last_frame(SessionKind kind, bool repairs);

// The progress of one side's frames. The phases of each side are in ascending order.
enum class Phase : std::uint8_t {
    kStart,  // no frame yet; both sides
    // the sender's
    kOffered,
    kInRound,
    kRoundEnded,
    kPostcopyStarted,  // the switchover follows
    kSwitchover,
    kInLastRound,
    kLastRoundEnded,
    kInDevices,
    kCompleted,
    kHandedOver,
    kConfirmed,  // DONE_ACK was sent
    // the receiver's
    kRefused,
    kAccepted,
    kReady,
    kAcknowledged,  // SWITCHOVER_ACK was sent
    kLoaded,
    kDone,
};

// The condition of a step: it compares the frames that the two sides have sent. Four kinds of
// frames have counterparts: ROUND_END has ROUND_DONE, ADD_CHANNELS has CHANNELS_ADDED, PAGE_DIGESTS
// has PAGES_REUSED, and ROUND_BROKEN has ROUND_AGAIN.
enum class When : std::uint8_t {
    kAlways,
    kRoundsConfirmed,   // the receiver confirmed every round that the sender ended
    kRoundUnconfirmed,  // a round that the sender ended is neither confirmed nor broken
    kAdditionsAnswered,
    kAdditionUnanswered,
    kDigestsAnswered,
    kDigestsUnanswered,
    kFewDigestsUnanswered,  // fewer than kMostUnansweredDigests
    kBreakNotContinued,     // the receiver reported a break, and the round was not yet continued
    kDoneIsAcknowledged,    // the sender answers DONE
};

// A row of the table: in phase `at`, side `by` may send `frame`, which leads it to phase `then`.
struct Step {
    Party by;
    Phase at;
    FrameType frame;
    Phase then;
    std::uint8_t kinds;  // bit set of SessionKind
    Phase after;         // phase that the other side must have reached; kStart: any
    When when;

    bool in(SessionKind kind) const { return (kinds & (1U << static_cast<unsigned>(kind))) != 0; }
};
std::span<const Step> sequence_table();

// One session's place in the table. Used by one thread.
class Sequence {
  public:
    // Sets the kind of session and its last frame. Called when they are agreed, before the first
    // frame after ACCEPT; OFFER, ACCEPT and REFUSE are the same in every kind.
    void agree(SessionKind kind, LastFrame last = LastFrame::kDone) {
        kind_ = kind;
        last_ = last;
    }
    // The sides have agreed on postcopy-ram: its frames may come.
    void allow_postcopy() { postcopy_ = true; }
    // The frames that the side `by` may send next.
    FrameSet allowed(Party by) const;
    // Takes one step. On failure, kProtocol names the frame and the allowed ones.
    Status pass(Party by, FrameType frame);
    // The connection was lost, and another one takes its place: RESUMED comes next, and no other
    // frame until resume().
    void interrupt() { interrupted_ = true; }
    // RESUMED has passed. The receiver has begun this round (0: none), and all of it is in place or
    // it goes on.
    void resume(std::uint32_t round, bool complete);
    // The same once the sender has handed its guest over: the receiver has loaded it, and either
    // HANDOVER has come there or it follows.
    void resume_handover(bool came);
    // The session is over: no further frame can follow.
    bool ended() const {
        return allowed(Party::kSender).empty() && allowed(Party::kReceiver).empty();
    }

  private:
    struct Progress {
        Phase phase = Phase::kStart;
        std::uint64_t rounds = 0;     // ended by the sender; confirmed by the receiver
        std::uint64_t additions = 0;  // ADD_CHANNELS of the sender; CHANNELS_ADDED of the receiver
        std::uint64_t digests = 0;    // PAGE_DIGESTS of the sender; PAGES_REUSED of the receiver
        std::uint64_t breaks = 0;     // ROUND_AGAIN of the sender; ROUND_BROKEN of the receiver
    };
    const Progress& of(Party party) const { return party == Party::kSender ? sender_ : receiver_; }
    Progress& of(Party party) { return party == Party::kSender ? sender_ : receiver_; }
    bool may_follow(const Step& step) const;

    SessionKind kind_ = SessionKind::kImage;
    LastFrame last_ = LastFrame::kDone;
    bool interrupted_ = false;
    bool postcopy_ = false;
    Progress sender_;
    Progress receiver_;
};

}  // namespace migrate::transport
