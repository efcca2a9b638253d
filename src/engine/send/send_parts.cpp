// SPDX-License-Identifier: Apache-2.0
#include "engine/send/send_parts.hpp"

#include <algorithm>
#include <thread>

#include "memory/region_digest.hpp"

namespace migrate::engine {

using transport::FrameType;

unsigned digest_threads() { return std::max(1U, std::thread::hardware_concurrency()); }

Result<transport::Completion> make_completion(const SendParts& parts) {
    MIGRATE_TRY(parts.source.check_unchanged());
    transport::Completion completion{.pages = parts.channels.pages(), .digests = {}};
    // The memory is not whole at the receiver.
    if (PostcopySource* postcopy = parts.postcopy.source()) {
        completion.missing = postcopy->missing();
        return completion;
    }
    if (!parts.config.negotiated.verify()) return completion;
    MIGRATE_ASSIGN(const auto digests,
                   memory::digest_source(parts.source, digest_threads(), parts.core.token()));
    for (const memory::Digest& digest : digests) completion.digests.push_back(digest.hex());
    return completion;
}

Result<transport::Done> take_done(const SendParts& parts, const transport::Frame& frame,
                                  const transport::Completion& completion) {
    parts.custody.arrived();
    MIGRATE_ASSIGN(transport::Done done, transport::decode_done(frame.body));
    if (done.pages != completion.pages) {
        return make_error(ErrorKind::kProtocol,
                          "the receiver counted {} normal, {} zero and {} unpopulated pages; {}, "
                          "{} and {} were sent",
                          done.pages.normal, done.pages.zero, done.pages.unpopulated,
                          completion.pages.normal, completion.pages.zero,
                          completion.pages.unpopulated);
    }
    parts.published.lock()->digests = completion.digests;
    parts.link.acknowledge_done();
    return done;
}

namespace {

// Returns the receiver's answer to COMPLETE.
RoundSender::Answer send_completion(const SendParts& parts,
                                    const transport::Completion& completion) {
    MIGRATE_TRY(parts.link.send(FrameType::kComplete, transport::encode(completion)));
    MIGRATE_ASSIGN(
        transport::Frame frame,
        parts.link.expect({FrameType::kDone, FrameType::kRoundArrived, FrameType::kRoundBroken},
                          std::nullopt));
    return std::optional(std::move(frame));
}

// Sends COMPLETE and waits for DONE. If only the receiver has noticed the loss of a channel, or if
// the main channel was lost, pages may be missing: they and another COMPLETE follow. The first
// COMPLETE does not wait for the receiver, which saves a round trip in a transfer without such a
// loss.
Result<transport::Done> complete_image(const SendParts& parts, SentRound sent,
                                       DowntimeClock& clock) {
    while (true) {
        MIGRATE_ASSIGN(const transport::Completion completion, make_completion(parts));
        clock.lap(&DowntimeReport::digest);
        parts.link.stop_sending_heartbeats();
        RoundSender::Answer answer = send_completion(parts, completion);
        if (answer && (*answer)->type == FrameType::kDone) {
            return take_done(parts, **answer, completion);
        }
        parts.link.resume_heartbeats();
        MIGRATE_TRY(parts.rounds.continue_round(sent, std::move(answer)));
    }
}

}  // namespace

// The downtime of an image with devices is the whole transfer.
Status migrate_image(const SendParts& parts) {
    constexpr std::uint32_t kOnlyRound = 1;
    const bool devices = parts.devices.any();
    MIGRATE_TRY(parts.reuse.ask());
    DowntimeClock clock;
    if (devices) {
        MIGRATE_TRY(parts.link.fail_on_loss());
        MIGRATE_TRY(parts.channels.fail_on_loss());
        MIGRATE_TRY(parts.link.send(FrameType::kSwitchoverStart, "{}"));
        MIGRATE_TRY(parts.devices.start(parts.channels, parts.core, parts.published));
    }
    MIGRATE_ASSIGN(SentRound sent, parts.rounds.send(kOnlyRound, parts.all_pages()));
    if (parts.devices.on_channels()) {
        clock.lap(&DowntimeReport::last_round, parts.devices.memory_done());
        clock.lap(&DowntimeReport::devices);
    } else {
        clock.lap(&DowntimeReport::last_round);
        MIGRATE_TRY(parts.devices.send_frames(parts.link, parts.core.token(), clock));
    }
    MIGRATE_ASSIGN(const transport::Done done, complete_image(parts, std::move(sent), clock));
    if (!devices) return {};
    clock.add(&DowntimeReport::devices, Microseconds(done.devices_us));
    parts.published.lock()->downtime = clock.close();
    return {};
}

}  // namespace migrate::engine
