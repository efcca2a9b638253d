// SPDX-License-Identifier: Apache-2.0
#include "transport/sequence.hpp"

#include <set>
#include <vector>

#include "catch.hpp"
#include "tests/support/must.hpp"
#include "transport/page_digests.hpp"

namespace migrate::transport {
namespace {

using Catch::Matchers::Contains;
using enum FrameType;

constexpr Party kBoth[] = {Party::kSender, Party::kReceiver};
constexpr SessionKind kKinds[] = {SessionKind::kImage, SessionKind::kImageDevices,
                                  SessionKind::kImageDeviceFrames, SessionKind::kGuest,
                                  SessionKind::kGuestDeviceFrames};
constexpr std::uint16_t kLastType = 27;

struct Passed {
    Party by;
    FrameType frame;
};

Passed sent(FrameType frame) { return {Party::kSender, frame}; }
Passed answered(FrameType frame) { return {Party::kReceiver, frame}; }

// The frames of a whole session of that kind, in an order of PROTOCOL.md.
std::vector<Passed> whole_session(SessionKind kind) {
    std::vector<Passed> walk{sent(kOffer), answered(kAccept), answered(kReady)};
    const auto add = [&walk](std::initializer_list<Passed> more) {
        walk.insert(walk.end(), more.begin(), more.end());
    };
    switch (kind) {
        case SessionKind::kImage:
            add({sent(kRoundStart), sent(kRoundEnd), sent(kComplete), answered(kDone)});
            break;
        case SessionKind::kImageDevices:
            add({sent(kSwitchoverStart), sent(kRoundStart), sent(kRoundEnd), sent(kComplete),
                 answered(kDone)});
            break;
        case SessionKind::kImageDeviceFrames:
            add({sent(kSwitchoverStart), sent(kRoundStart), sent(kRoundEnd), sent(kDeviceState),
                 sent(kDeviceState), sent(kComplete), answered(kDone)});
            break;
        case SessionKind::kGuest:
            add({sent(kRoundStart), sent(kRoundEnd), answered(kSwitchoverAck), answered(kRoundDone),
                 sent(kRoundStart), sent(kRoundEnd), answered(kRoundDone), sent(kSwitchoverStart),
                 sent(kRoundStart), sent(kRoundEnd), answered(kRoundDone), sent(kComplete),
                 answered(kLoaded), sent(kHandover), answered(kDone)});
            break;
        case SessionKind::kGuestDeviceFrames:
            add({sent(kRoundStart), sent(kRoundEnd), answered(kSwitchoverAck), answered(kRoundDone),
                 sent(kSwitchoverStart), sent(kRoundStart), sent(kRoundEnd), answered(kRoundDone),
                 sent(kDeviceState), sent(kDeviceState), sent(kComplete), answered(kLoaded),
                 sent(kHandover), answered(kDone)});
            break;
    }
    return walk;
}

TEST_CASE("every kind of session passes from OFFER to DONE, and nothing follows DONE") {
    for (const SessionKind kind : kKinds) {
        INFO("kind " << static_cast<int>(kind));
        Sequence sequence;
        sequence.agree(kind);
        for (const Passed& step : whole_session(kind)) {
            CHECK_FALSE(sequence.ended());
            INFO(name_of(step.frame));
            CHECK(sequence.allowed(step.by).has(step.frame));
            must(sequence.pass(step.by, step.frame));
        }
        CHECK(sequence.ended());
    }
}

TEST_CASE("with reconnect-timeout the sender acknowledges DONE, and nothing follows that") {
    for (const SessionKind kind : kKinds) {
        INFO("kind " << static_cast<int>(kind));
        const LastFrame last = last_frame(kind, true);
        CHECK(last_frame(kind, false) == LastFrame::kDone);
        const bool survives =
            kind != SessionKind::kImageDevices && kind != SessionKind::kImageDeviceFrames;
        CHECK((last == LastFrame::kDoneAck) == survives);
        Sequence sequence;
        sequence.agree(kind, last);
        for (const Passed& step : whole_session(kind)) must(sequence.pass(step.by, step.frame));
        CHECK(sequence.ended() != survives);
        if (!survives) continue;
        CHECK(sequence.allowed(Party::kSender).names() == "DONE_ACK");
        must(sequence.pass(Party::kSender, kDoneAck));
        CHECK(sequence.ended());
    }
}

TEST_CASE("after an interruption of the handover HANDOVER follows unless it came, and DONE") {
    for (const bool came : {false, true}) {
        Sequence sequence;
        sequence.agree(SessionKind::kGuest, LastFrame::kDoneAck);
        for (const Passed& step : whole_session(SessionKind::kGuest)) {
            if (step.frame == kDone) break;
            must(sequence.pass(step.by, step.frame));
        }
        sequence.interrupt();
        must(sequence.pass(Party::kReceiver, kResumed));
        sequence.resume_handover(came);
        CHECK(sequence.allowed(Party::kSender).names() == (came ? "no frame" : "HANDOVER"));
        CHECK(sequence.allowed(Party::kReceiver).names() == (came ? "DONE" : "no frame"));
        if (!came) must(sequence.pass(Party::kSender, kHandover));
        must(sequence.pass(Party::kReceiver, kDone));
        must(sequence.pass(Party::kSender, kDoneAck));
        CHECK(sequence.ended());
    }
}

TEST_CASE("every frame out of sequence is refused by name, wherever it comes in a session") {
    for (const SessionKind kind : kKinds) {
        const std::vector<Passed> walk = whole_session(kind);
        Sequence sequence;
        sequence.agree(kind);
        for (const Passed& step : walk) {
            for (const Party by : kBoth) {
                const FrameSet allowed = sequence.allowed(by);
                for (std::uint16_t type = 1; type <= kLastType; ++type) {
                    const auto frame = static_cast<FrameType>(type);
                    if (allowed.has(frame)) continue;
                    Sequence before = sequence;
                    const Status status = before.pass(by, frame);
                    REQUIRE_FALSE(status);
                    CHECK(status.error().kind() == ErrorKind::kProtocol);
                    CHECK_THAT(status.error().message(),
                               Contains("expected " + allowed.names()) &&
                                   Contains(fmt::format("got {}", name_of(frame))));
                }
            }
            must(sequence.pass(step.by, step.frame));
        }
    }
}

TEST_CASE("COMPLETE may come before the last ROUND_DONE, device frames may not") {
    const auto until_last_round_end = [](SessionKind kind) {
        Sequence sequence;
        sequence.agree(kind);
        for (const Passed& step :
             {sent(kOffer), answered(kAccept), answered(kReady), sent(kRoundStart), sent(kRoundEnd),
              answered(kRoundDone), sent(kSwitchoverStart), sent(kRoundStart), sent(kRoundEnd)}) {
            must(sequence.pass(step.by, step.frame));
        }
        return sequence;
    };
    Sequence on_channels = until_last_round_end(SessionKind::kGuest);
    must(on_channels.pass(Party::kSender, kComplete));
    CHECK_FALSE(on_channels.allowed(Party::kReceiver).has(kLoaded));
    must(on_channels.pass(Party::kReceiver, kRoundDone));
    must(on_channels.pass(Party::kReceiver, kLoaded));

    Sequence frames = until_last_round_end(SessionKind::kGuestDeviceFrames);
    CHECK(frames.allowed(Party::kSender).empty());
    must(frames.pass(Party::kReceiver, kRoundDone));
    CHECK(frames.allowed(Party::kSender).names() == "DEVICE_STATE");
}

TEST_CASE("no round begins before its predecessor is confirmed, and no round is confirmed twice") {
    Sequence sequence;
    sequence.agree(SessionKind::kGuest);
    for (const Passed& step :
         {sent(kOffer), answered(kAccept), answered(kReady), sent(kRoundStart), sent(kRoundEnd)}) {
        must(sequence.pass(step.by, step.frame));
    }
    CHECK(sequence.allowed(Party::kSender).empty());
    must(sequence.pass(Party::kReceiver, kRoundDone));
    CHECK(sequence.allowed(Party::kReceiver).empty());
    CHECK(sequence.allowed(Party::kSender).names() == "ROUND_START or SWITCHOVER_START");
}

TEST_CASE("a broken round is continued, and is confirmed only after that") {
    Sequence sequence;
    sequence.agree(SessionKind::kGuest);
    for (const Passed& step :
         {sent(kOffer), answered(kAccept), answered(kReady), sent(kRoundStart)}) {
        must(sequence.pass(step.by, step.frame));
    }
    CHECK(sequence.allowed(Party::kReceiver).empty());
    must(sequence.pass(Party::kSender, kRoundEnd));
    must(sequence.pass(Party::kReceiver, kRoundArrived));
    CHECK(sequence.allowed(Party::kSender).empty());
    must(sequence.pass(Party::kReceiver, kRoundBroken));
    CHECK(sequence.allowed(Party::kReceiver).empty());
    CHECK(sequence.allowed(Party::kSender).names() == "ROUND_AGAIN");
    must(sequence.pass(Party::kSender, kRoundAgain));
    CHECK(sequence.allowed(Party::kSender).names() == "ROUND_END or ADD_CHANNELS");
    CHECK(sequence.allowed(Party::kReceiver).empty());
    must(sequence.pass(Party::kSender, kRoundEnd));
    must(sequence.pass(Party::kReceiver, kRoundDone));
    CHECK(sequence.allowed(Party::kSender).names() == "ROUND_START or SWITCHOVER_START");
    must(sequence.pass(Party::kSender, kSwitchoverStart));
    must(sequence.pass(Party::kSender, kRoundStart));
    must(sequence.pass(Party::kSender, kRoundEnd));
}

TEST_CASE("after an interruption RESUMED comes, and then what the round needs") {
    struct Case {
        SessionKind kind;
        std::uint32_t round;
        bool complete;
        const char* sender;
    };
    for (const Case& one : {Case{SessionKind::kGuest, 3, false, "ROUND_END or ADD_CHANNELS"},
                            Case{SessionKind::kGuest, 3, true, "ROUND_START or SWITCHOVER_START"},
                            Case{SessionKind::kImage, 1, false, "ROUND_END or ADD_CHANNELS"},
                            Case{SessionKind::kImage, 1, true, "ROUND_START or COMPLETE"},
                            Case{SessionKind::kImage, 0, true, "ROUND_START or PAGE_DIGESTS"}}) {
        INFO(one.round << ", complete: " << one.complete);
        Sequence sequence;
        sequence.agree(one.kind);
        for (const Passed& step : {sent(kOffer), answered(kAccept), answered(kReady),
                                   sent(kRoundStart), sent(kAddChannels)}) {
            must(sequence.pass(step.by, step.frame));
        }
        CHECK_FALSE(sequence.pass(Party::kReceiver, kResumed));
        sequence.interrupt();
        CHECK(sequence.allowed(Party::kSender).empty());
        CHECK(sequence.allowed(Party::kReceiver).names() == "RESUMED");
        CHECK_FALSE(sequence.pass(Party::kReceiver, kChannelsAdded));
        must(sequence.pass(Party::kReceiver, kResumed));
        sequence.resume(one.round, one.complete);
        CHECK(sequence.allowed(Party::kSender).names() == one.sender);
        if (one.complete) continue;
        CHECK(sequence.allowed(Party::kReceiver).empty());
        must(sequence.pass(Party::kSender, kRoundEnd));
        must(sequence.pass(Party::kReceiver, kRoundBroken));
        must(sequence.pass(Party::kSender, kRoundAgain));
        must(sequence.pass(Party::kSender, kRoundEnd));
        if (one.kind == SessionKind::kGuest) must(sequence.pass(Party::kReceiver, kRoundDone));
    }
}

TEST_CASE("an image's round may break after its COMPLETE, and another COMPLETE follows") {
    Sequence sequence;
    sequence.agree(SessionKind::kImage);
    for (const Passed& step : {sent(kOffer), answered(kAccept), answered(kReady), sent(kRoundStart),
                               sent(kRoundEnd), sent(kComplete), answered(kRoundBroken)}) {
        must(sequence.pass(step.by, step.frame));
    }
    CHECK(sequence.allowed(Party::kSender).names() == "ROUND_AGAIN");
    for (const Passed& step :
         {sent(kRoundAgain), sent(kRoundEnd), sent(kComplete), answered(kDone)}) {
        must(sequence.pass(step.by, step.frame));
    }
    CHECK(sequence.ended());
}

TEST_CASE("a round ends only after the receiver has answered the addition of channels") {
    Sequence sequence;
    sequence.agree(SessionKind::kGuest);
    for (const Passed& step :
         {sent(kOffer), answered(kAccept), answered(kReady), sent(kRoundStart)}) {
        must(sequence.pass(step.by, step.frame));
    }
    CHECK(sequence.allowed(Party::kSender).names() == "ROUND_END or ADD_CHANNELS");
    CHECK(sequence.allowed(Party::kReceiver).empty());
    must(sequence.pass(Party::kSender, kAddChannels));
    CHECK(sequence.allowed(Party::kSender).empty());
    CHECK(sequence.allowed(Party::kReceiver).names() == "CHANNELS_ADDED");
    must(sequence.pass(Party::kReceiver, kChannelsAdded));
    CHECK(sequence.allowed(Party::kReceiver).empty());
    must(sequence.pass(Party::kSender, kRoundEnd));
    CHECK(sequence.allowed(Party::kSender).empty());
    must(sequence.pass(Party::kReceiver, kRoundDone));
    // The last round of a guest, which is paused, adds none.
    must(sequence.pass(Party::kSender, kSwitchoverStart));
    must(sequence.pass(Party::kSender, kRoundStart));
    CHECK(sequence.allowed(Party::kSender).names() == "ROUND_END");
}

TEST_CASE("the first round begins when every question for pages is answered, and few are open") {
    for (const SessionKind kind : kKinds) {
        Sequence sequence;
        sequence.agree(kind);
        for (const Passed& step : {sent(kOffer), answered(kAccept)}) {
            must(sequence.pass(step.by, step.frame));
        }
        CHECK(sequence.allowed(Party::kSender).empty());
        must(sequence.pass(Party::kReceiver, kReady));
        CHECK(sequence.allowed(Party::kSender).has(kPageDigests));
        CHECK(sequence.allowed(Party::kReceiver).empty());
        for (std::size_t i = 0; i < kMostUnansweredDigests; ++i) {
            must(sequence.pass(Party::kSender, kPageDigests));
        }
        CHECK(sequence.allowed(Party::kSender).empty());
        for (std::size_t i = 0; i < kMostUnansweredDigests; ++i) {
            CHECK(sequence.allowed(Party::kReceiver).names() == "PAGES_REUSED");
            must(sequence.pass(Party::kReceiver, kPagesReused));
        }
        CHECK(sequence.allowed(Party::kReceiver).empty());
        const bool switches =
            kind == SessionKind::kImageDevices || kind == SessionKind::kImageDeviceFrames;
        must(sequence.pass(Party::kSender, switches ? kSwitchoverStart : kRoundStart));
        CHECK_FALSE(sequence.allowed(Party::kSender).has(kPageDigests));
    }
}

TEST_CASE("the frames of post-copy come only if it was agreed on, and the switchover follows") {
    const auto after_round = [](bool agreed) {
        Sequence sequence;
        sequence.agree(SessionKind::kGuest);
        if (agreed) sequence.allow_postcopy();
        for (const Passed& step :
             {sent(kOffer), answered(kAccept), answered(kReady), sent(kRoundStart), sent(kRoundEnd),
              answered(kSwitchoverAck), answered(kRoundDone)}) {
            must(sequence.pass(step.by, step.frame));
        }
        return sequence;
    };
    CHECK(after_round(false).allowed(Party::kSender).names() == "ROUND_START or SWITCHOVER_START");
    Sequence sequence = after_round(true);
    must(sequence.pass(Party::kSender, kPostcopyPages));
    must(sequence.pass(Party::kSender, kPostcopyPages));
    must(sequence.pass(Party::kSender, kPostcopyStart));
    CHECK(sequence.allowed(Party::kSender).names() ==
          "SWITCHOVER_START or POSTCOPY_PAGES or POSTCOPY_START");
    must(sequence.pass(Party::kSender, kPostcopyPages));
    must(sequence.pass(Party::kSender, kPostcopyStart));
    must(sequence.pass(Party::kSender, kSwitchoverStart));
    must(sequence.pass(Party::kSender, kRoundStart));
    must(sequence.pass(Party::kSender, kRoundEnd));
    CHECK(sequence.allowed(Party::kSender).names() == "COMPLETE or POSTCOPY_PAGES");
    must(sequence.pass(Party::kSender, kPostcopyPages));
    must(sequence.pass(Party::kSender, kComplete));
    CHECK_FALSE(sequence.allowed(Party::kSender).has(kPostcopyPages));
}

// Follows every path, each of them with at most `rounds` rounds.
void walk(const Sequence& sequence, std::uint64_t rounds, std::set<const Step*>& used,
          bool& ended) {
    if (sequence.ended()) {
        ended = true;
        return;
    }
    std::set<std::pair<Party, FrameType>> tried;
    for (const Step& step : sequence_table()) {
        if (!sequence.allowed(step.by).has(step.frame)) continue;
        // Another row of the same frame leads to the same place.
        if (tried.contains({step.by, step.frame})) {
            used.insert(&step);
            continue;
        }
        const bool starts = step.frame == kRoundStart;
        if (starts && rounds == 0) continue;
        // A second device's chunk leads to where the first led.
        if (step.frame == kDeviceState && used.contains(&step)) continue;
        // Neither does a second addition of channels or a second question lead elsewhere.
        if (step.frame == kAddChannels && used.contains(&step)) continue;
        if (step.frame == kPageDigests && used.contains(&step)) continue;
        // Nor does a second list of pages, or a second begin of post-copy.
        const bool postcopy = step.frame == kPostcopyPages || step.frame == kPostcopyStart;
        if (postcopy && used.contains(&step)) continue;
        // A round that breaks again goes on as it did the first time.
        const bool breaks = step.frame == kRoundArrived || step.frame == kRoundBroken;
        if (breaks && used.contains(&step)) continue;
        Sequence next = sequence;
        must(next.pass(step.by, step.frame));
        used.insert(&step);
        tried.insert({step.by, step.frame});
        walk(next, rounds - (starts ? 1 : 0), used, ended);
    }
}

TEST_CASE("every row of the table occurs, and every way on leads to an end") {
    std::set<const Step*> used;
    for (const SessionKind kind : kKinds) {
        Sequence sequence;
        sequence.agree(kind, last_frame(kind, true));
        sequence.allow_postcopy();
        bool ended = false;
        walk(sequence, 3, used, ended);
        CHECK(ended);
    }
    for (const Step& step : sequence_table()) {
        INFO(name_of(step.frame) << " from phase " << static_cast<int>(step.at));
        CHECK(used.contains(&step));
    }
}

}  // namespace
}  // namespace migrate::transport
