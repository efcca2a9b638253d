// SPDX-License-Identifier: Apache-2.0
// The bodies of the control frames after the handshake. Invariant: a decoded message holds only
// values in range; an unknown key is ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "transport/packet_builder.hpp"

namespace migrate::transport {

// The body of kReady.
struct Ready {
    // Time from the arrival of the last data connection until this frame; 0 if the receiver's
    // program does not tell.
    std::uint64_t prepared_us = 0;
};

// The body of kRoundStart, kRoundEnd, kRoundDone and kRoundAgain.
struct RoundMark {
    std::uint32_t round = 0;
    // Pages of its plan, all of which must come; all pages in round 1. In kRoundAgain: those that
    // are still to come.
    std::uint64_t pages = 0;
    // kRoundEnd: ids of the channels that the sender lost and that kRoundBroken has not named yet.
    std::vector<std::uint16_t> lost{};
    // kRoundStart: pages that the guest makes dirty per second; 0: not known, or no guest.
    std::uint64_t dirty_rate = 0;
};

// A data channel that was lost, as the receiver saw it.
struct LostChannel {
    std::uint16_t channel = 0;  // its id
    std::uint64_t bytes = 0;    // received on it
    PageCounts pages{};         // placed from it, in all rounds
};
// The body of kRoundBroken.
struct RoundBreak {
    std::uint32_t round = 0;
    std::uint64_t arrived = 0;  // pages in the kRoundArrived frames before it
    std::vector<LostChannel> lost{};
};

// The body of kSwitchoverAck and kLoaded: the time to load and resume the guest, as expected before
// the switchover, and as measured after it.
struct LoadTime {
    std::uint64_t microseconds = 0;
};

// The body of kSwitchoverStart and kHandover: how long the guest has been paused at the moment at
// which the frame arrives, if that takes half the shortest round trip. Empty without a guest, and
// from a program that does not send it.
struct PauseTime {
    std::optional<std::uint64_t> microseconds{};
};

// The body of kAddChannels, and of its answer kChannelsAdded: the number of data channels that take
// part from now on, those of before included. Their ids are below it.
struct ChannelCount {
    std::uint16_t channels = 0;  // 1 … kMaxChannelIds
    std::string reason{};        // of the receiver, if it took fewer channels than came; else empty
    // kAddChannels: as in RoundMark.
    std::vector<std::uint16_t> lost{};
};

// The body of kResume.
struct Resume {
    std::uint32_t round = 0;             // the last round that the sender began; 0: none
    std::vector<std::uint64_t> sizes{};  // of the regions, in bytes
    bool handed_over = false;            // the guest was handed over: it never runs here again
};
// The body of kResumed.
struct Resumed {
    std::uint32_t round = 0;     // the last round that began at the receiver; 0: none
    bool complete = false;       // all of that round is in place
    std::uint16_t channels = 1;  // data channels so far, all of which are lost
    // The load time of kSwitchoverAck, if the receiver has acknowledged before.
    std::optional<LoadTime> load{};
    bool loaded = false;       // the guest is loaded, and kLoaded was sent
    bool handed_over = false;  // kHandover came
};

struct Completion {
    PageCounts pages;                  // sum over all rounds
    std::vector<std::string> digests;  // one per region if verify was agreed on, else empty
    // With post-copy: number of pages that kPostcopyPages named, and that come after the handover.
    std::optional<std::uint64_t> missing{};
};

struct Done {
    PageCounts pages;  // as counted by the receiver
    // With a guest: the time to resume it, and the downtime by the receiver's clock: from the pause
    // at the source, as PauseTime tells it, until the guest ran again.
    std::uint64_t resume_us = 0;
    std::uint64_t downtime_us = 0;
    // Time for which only the devices were still missing.
    std::uint64_t devices_us = 0;
};

struct Failure {
    bool cancelled = false;  // true if the user cancelled; false after an error
    std::string reason;
    // The receiver's statement on the guest. True: it runs there. False: it does not and never
    // will, so that the sender may take it back. Empty: not known.
    std::optional<bool> guest_runs = false;
    // The outcome there: a word of base/outcome.hpp, or one that this program does not know. Empty
    // from a program that sends none.
    std::string outcome{};
};

std::string encode(const RoundMark& message);
std::string encode(const LoadTime& message);
std::string encode(const PauseTime& message);
std::string encode(const Ready& message);
std::string encode(const ChannelCount& message);
std::string encode(const RoundBreak& message);
std::string encode(const Resume& message);
std::string encode(const Resumed& message);
std::string encode(const Completion& message);
std::string encode(const Done& message);
std::string encode(const Failure& message);

// All of these but the last fail with kProtocol.
Result<RoundMark> decode_round_mark(std::string_view body);
Result<LoadTime> decode_load_time(std::string_view body);
Result<PauseTime> decode_pause_time(std::string_view body);
Result<Ready> decode_ready(std::string_view body);
Result<ChannelCount> decode_channel_count(std::string_view body);
Result<RoundBreak> decode_round_break(std::string_view body);
Result<Resume> decode_resume(std::string_view body);
Result<Resumed> decode_resumed(std::string_view body);
Result<Completion> decode_completion(std::string_view body);
Result<Done> decode_done(std::string_view body);
// Never fails: an unreadable body yields a default reason. Also reads kRefuse. The text is made
// safe to print.
Failure decode_failure(std::string_view body);

}  // namespace migrate::transport
