// SPDX-License-Identifier: Apache-2.0
// Frames of the main channel: a fixed header and a body, which is JSON except for device state.
// Invariant: the layout of the header and of kRefuse, kFailure is the same in every protocol
// version, so that any two versions can at least tell each other the reason for a refusal.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/enum_names.hpp"
#include "base/error.hpp"

namespace migrate::transport {

enum class FrameType : std::uint16_t {
    kOffer = 1,       // sender: regions and settings
    kAccept = 2,      // receiver: the session's id
    kRefuse = 3,      // receiver: the reason; nothing has moved
    kReady = 4,       // receiver: every channel is connected
    kRoundStart = 5,  // sender: packets of this round follow on the channels
    kRoundEnd = 6,    // sender: every channel's SYNC is on its way
    kComplete = 7,    // sender: all is sent; totals and digests. Without a guest, its last frame.
    kDone = 8,        // receiver: all is in place and checked. Its last frame.
    kFailure = 9,     // either: the reason why it gives up. Its last frame.
    kHeartbeat = 10,  // either: still alive
    // Only in a session with a guest or devices:
    kRoundDone = 11,        // receiver: all of the round is in place
    kSwitchoverAck = 12,    // receiver: could run the guest now
    kSwitchoverStart = 13,  // sender: the guest is paused, its last round and devices follow
    // 14 was a frame of protocol version 1.
    kLoaded = 15,       // receiver: acknowledges; the guest is loaded and waits
    kHandover = 16,     // sender: the receiver owns the guest now. Its last frame.
    kDeviceState = 17,  // sender: a chunk of a device's state; binary, see device_chunk.hpp
    // Only with multifd-channels=auto, within a round:
    kAddChannels = 18,    // sender: further data channels are connected
    kChannelsAdded = 19,  // receiver: how many of them take part from now on
    // Only if the receiver asks for them, before the first round; binary, see page_digests.hpp:
    kPageDigests = 20,  // sender: digests of pages that the receiver may have
    kPagesReused = 21,  // receiver: which of them it has
    // Only with reconnect-timeout, after data channels were lost in a round:
    kRoundArrived = 22,  // receiver: pages of the round that are in place; see arrived_pages.hpp
    kRoundBroken = 23,   // receiver: these were all; the channels that were lost
    kRoundAgain = 24,    // sender: the rest of the round follows
    // Only with reconnect-timeout, on a main channel that takes the place of a lost one:
    kResume = 25,   // sender: its first frame; where it is
    kResumed = 26,  // receiver: where it is
    kDoneAck = 27,  // sender: DONE came. Its last frame, with reconnect-timeout.
    // Only with postcopy-ram:
    kPostcopyPages = 28,  // sender: pages that come after the handover; see arrived_pages.hpp
    kPostcopyStart = 29,  // sender: the guest is paused next; its connections for pages follow
};
constexpr auto enum_names(FrameType) {
    return names_of_enum<FrameType>({{FrameType::kOffer, "OFFER"},
                                     {FrameType::kAccept, "ACCEPT"},
                                     {FrameType::kRefuse, "REFUSE"},
                                     {FrameType::kReady, "READY"},
                                     {FrameType::kRoundStart, "ROUND_START"},
                                     {FrameType::kRoundEnd, "ROUND_END"},
                                     {FrameType::kComplete, "COMPLETE"},
                                     {FrameType::kDone, "DONE"},
                                     {FrameType::kFailure, "FAILURE"},
                                     {FrameType::kHeartbeat, "HEARTBEAT"},
                                     {FrameType::kRoundDone, "ROUND_DONE"},
                                     {FrameType::kSwitchoverAck, "SWITCHOVER_ACK"},
                                     {FrameType::kSwitchoverStart, "SWITCHOVER_START"},
                                     {FrameType::kLoaded, "LOADED"},
                                     {FrameType::kHandover, "HANDOVER"},
                                     {FrameType::kDeviceState, "DEVICE_STATE"},
                                     {FrameType::kAddChannels, "ADD_CHANNELS"},
                                     {FrameType::kChannelsAdded, "CHANNELS_ADDED"},
                                     {FrameType::kPageDigests, "PAGE_DIGESTS"},
                                     {FrameType::kPagesReused, "PAGES_REUSED"},
                                     {FrameType::kRoundArrived, "ROUND_ARRIVED"},
                                     {FrameType::kRoundBroken, "ROUND_BROKEN"},
                                     {FrameType::kRoundAgain, "ROUND_AGAIN"},
                                     {FrameType::kResume, "RESUME"},
                                     {FrameType::kResumed, "RESUMED"},
                                     {FrameType::kDoneAck, "DONE_ACK"},
                                     {FrameType::kPostcopyPages, "POSTCOPY_PAGES"},
                                     {FrameType::kPostcopyStart, "POSTCOPY_START"}});
}

inline constexpr std::size_t kFrameHeaderSize = 12;
inline constexpr std::size_t kMaxFrameBody = 128UL * 1024;

struct Frame {
    FrameType type = FrameType::kHeartbeat;
    std::string body;
};

// `body_bytes` and the size of `body` are at most kMaxFrameBody.
std::array<std::byte, kFrameHeaderSize> encode_frame_header(FrameType type, std::size_t body_bytes);
std::string encode_frame(FrameType type, std::string_view body);

struct FrameHeader {
    FrameType type = FrameType::kHeartbeat;
    std::uint32_t body_bytes = 0;
};
Result<FrameHeader> decode_frame_header(std::span<const std::byte, kFrameHeaderSize> bytes);

// Takes bytes as they arrive and returns frames. Buffers at most one frame beyond the fed bytes.
class FrameParser {
  public:
    void feed(std::span<const std::byte> bytes);
    // Returns the next complete frame, nothing if bytes are missing, or kProtocol.
    Result<std::optional<Frame>> next();
    bool in_mid_frame() const { return !buffer_.empty(); }

  private:
    std::string buffer_;
};

}  // namespace migrate::transport
