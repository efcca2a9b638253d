// SPDX-License-Identifier: Apache-2.0
#include "engine/recv/recv_rounds.hpp"

#include <algorithm>
#include <thread>

#include "base/log.hpp"
#include "memory/region_digest.hpp"
#include "transport/arrived_pages.hpp"

namespace migrate::engine {

using transport::FrameType;

namespace {

// The load time that the sender is told before a guest is loaded: the time to create its threads.
constexpr Microseconds kTypicalLoadTime{2000};

transport::LoadTime expected_load() {
    return {static_cast<std::uint64_t>(kTypicalLoadTime.count())};
}

// From now on the session survives the loss of the main channel, if the sides agreed on that.
void survive_loss(const RecvParts& parts) {
    const bool devices_only = parts.offer.guest.empty() && !parts.offer.devices.empty();
    if (!parts.offer.reconnect_timeout || devices_only) return;
    parts.link.survive_loss([&channels = parts.channels] { channels.cut(); });
}

// The pages of a round that begins; the number is the sender's.
void publish_plan(const RecvParts& parts, const transport::RoundMark& start) {
    const std::uint64_t most = total_bytes(parts.offer.regions) / kPageSize;
    const auto published = parts.published.lock();
    published->round = start.round;
    published->round_pages = std::min(start.pages, most);
    published->planned_pages += published->round_pages;
    published->dirty_rate = start.dirty_rate;
    published->round_began = std::chrono::steady_clock::now();
}

// A round has ended; the number is that of the pages that came.
void publish_end(const RecvParts& parts, const transport::RoundMark& end) {
    const auto published = parts.published.lock();
    published->postponed_pages +=
        published->round_pages - std::min(end.pages, published->round_pages);
}

// True if the switchover may be broken off, and be done again.
bool repeats_switchover(const RecvParts& parts) {
    return parts.offer.reconnect_timeout && !parts.offer.guest.empty() &&
           parts.devices.can_start_again() && parts.postcopy.sink() == nullptr;
}

// Channels were lost: tells the sender which pages of the round are in place. Anything that arrived
// on a lost channel is in place or is not marked, since its thread has ended.
Status report_arrived(const RecvParts& parts, std::uint32_t round,
                      const std::vector<transport::LostChannel>& lost) {
    transport::ArrivedEncoder encoder(round);
    const auto send = [&parts](const std::string& body) {
        return body.empty() ? Status() : parts.link.send(FrameType::kRoundArrived, body);
    };
    for (std::size_t i = 0; i < parts.offer.regions.size(); ++i) {
        const RegionId region{static_cast<std::uint16_t>(i)};
        const memory::PageBitmap& arrived = parts.placer.arrived(region);
        const std::uint64_t end = arrived.pages();
        std::uint64_t page = arrived.find(0, end, true);
        while (page < end) {
            const std::uint64_t next = arrived.find(page, end, false);
            MIGRATE_TRY(send(encoder.add(region, {page, next - page})));
            page = arrived.find(next, end, true);
        }
    }
    MIGRATE_TRY(send(encoder.finish()));
    return parts.link.send(FrameType::kRoundBroken,
                           transport::encode(transport::RoundBreak{round, encoder.pages(), lost}));
}

}  // namespace

Result<transport::Completion> RecvRounds::run() {
    // Questions about pages are not asked again.
    if (!parts_.reuse.expects_questions()) survive_loss(parts_);
    while (true) {
        Result<transport::Completion> completion = follow();
        if (completion || !parts_.link.lost()) return completion;
        if (switches_over_ && !repeats_switchover(parts_)) return completion;
        if (completion.error().kind() != ErrorKind::kLostConnection) return completion;
        MIGRATE_TRY(rejoin({}));
    }
}

// The main channel was lost. The threads of the channels end, and what they have not placed is not
// marked. The sender learns in the answer which round this is, and at its end what arrived.
Result<transport::Resume> RecvRounds::rejoin(const Ending& ending) {
    log::warning("the main channel was lost {} round {} (reconnect-timeout): {}",
                 open_ ? "in" : "after", round_, parts_.link.loss_reason());
    parts_.core.events().emit("MIGRATION_INTERRUPTED", {{"pass", std::uint64_t{round_}}});
    // No thread of a channel waits for room in the devices' buffer any more.
    if (switches_over_) parts_.devices.abandon();
    parts_.channels.lose_all(Error(ErrorKind::kLostConnection, "the main channel was lost"));
    for (transport::LostChannel& one : parts_.channels.take_losses()) {
        unreported_.push_back(std::move(one));
    }
    survive_loss(parts_);
    transport::Resumed here{.round = round_,
                            .complete = !open_,
                            .channels = parts_.channels.count(),
                            .load = {},
                            .loaded = ending.loaded,
                            .handed_over = ending.handed_over};
    const bool acknowledged = !parts_.offer.guest.empty() && round_ > (open_ ? 1U : 0U);
    if (acknowledged) here.load = expected_load();
    MIGRATE_ASSIGN(transport::Resume resume, parts_.rejoin(here));
    if (switches_over_ && !resume.handed_over) {
        if (parts_.postcopy.sink() != nullptr) {
            return Error(ErrorKind::kProtocol,
                         "the sender returns with its guest, whose memory is no longer whole here");
        }
        MIGRATE_TRY(undo_switchover());
    }
    if (open_) parts_.channels.continue_round(round_);
    parts_.core.events().emit("MIGRATION_RESUMED", {{"pass", std::uint64_t{round_}}});
    return resume;
}

Status RecvRounds::begin_switchover(const transport::PauseTime& time) {
    switches_over_ = true;
    log::debug("the switchover begins: the next round is the last");
    if (!repeats_switchover(parts_)) {
        MIGRATE_TRY(parts_.link.fail_on_loss());
        // Device state that is lost does not come again.
        MIGRATE_TRY(parts_.channels.fail_on_loss());
    }
    // The guest is paused. Without one, the whole transfer is the switchover.
    if (!parts_.offer.guest.empty()) parts_.core.budget().lift();
    parts_.arrival.note_pause(time);
    return parts_.devices.begin_loading();
}

// The guest runs at its source again, and its last round is no longer the last one.
Status RecvRounds::undo_switchover() {
    log::info("the switchover broke off: the guest runs on at its source, and its rounds go on");
    switches_over_ = false;
    digests_.clear();
    parts_.published.lock()->digests.clear();
    MIGRATE_TRY(parts_.arrival.undo(parts_.sink));
    MIGRATE_TRY(parts_.devices.prepare_again());
    parts_.channels.pass_devices_to(parts_.devices.for_channels());
    parts_.placer.resume_rounds();
    parts_.core.budget().begin();
    return {};
}

// Follows the sender until its COMPLETE, or until the main channel is lost.
Result<transport::Completion> RecvRounds::follow() {
    if (open_) MIGRATE_TRY(continue_round());
    while (true) {
        MIGRATE_ASSIGN(const transport::Frame frame, parts_.link.next());
        switch (frame.type) {
            case FrameType::kRoundStart: {
                MIGRATE_ASSIGN(const transport::RoundMark start,
                               transport::decode_round_mark(frame.body));
                MIGRATE_TRY(receive_round(start));
                break;
            }
            case FrameType::kSwitchoverStart: {
                MIGRATE_ASSIGN(const transport::PauseTime time,
                               transport::decode_pause_time(frame.body));
                MIGRATE_TRY(begin_switchover(time));
                break;
            }
            case FrameType::kPageDigests: {
                MIGRATE_ASSIGN(const std::string answer, parts_.reuse.answer(frame.body));
                MIGRATE_TRY(parts_.link.send(FrameType::kPagesReused, answer));
                break;
            }
            case FrameType::kPostcopyPages: {
                MIGRATE_ASSIGN(PostcopySink * sink,
                               parts_.postcopy.begin(parts_.link, parts_.channels));
                MIGRATE_TRY(sink->remove(frame.body));
                break;
            }
            case FrameType::kPostcopyStart: {
                MIGRATE_ASSIGN(PostcopySink * sink,
                               parts_.postcopy.begin(parts_.link, parts_.channels));
                MIGRATE_TRY(sink->start());
                break;
            }
            case FrameType::kDeviceState:
                MIGRATE_TRY(parts_.devices.load_frame(frame.body));
                break;
            default: {
                MIGRATE_ASSIGN(transport::Completion completion,
                               transport::decode_completion(frame.body));
                MIGRATE_TRY(compare(completion));
                if (switches_over_ && parts_.offer.reconnect_timeout) {
                    // Nothing more comes on them.
                    parts_.channels.survive_losses();
                    survive_loss(parts_);
                }
                return completion;
            }
        }
    }
}

Status RecvRounds::receive_round(const transport::RoundMark& start) {
    if (start.round != round_ + 1) {
        return make_error(ErrorKind::kProtocol, "expected ROUND_START {}, got ROUND_START {}",
                          round_ + 1, start.round);
    }
    const PostcopySink* const postcopy = parts_.postcopy.sink();
    if (postcopy != nullptr && (!switches_over_ || !postcopy->started())) {
        return Error(ErrorKind::kProtocol,
                     "the sender begins a round after it has named pages for post-copy");
    }
    if (round_ == 0) MIGRATE_TRY(parts_.reuse.finish());
    round_ = start.round;
    parts_.core.enter(Stage::kPagesMove);
    parts_.core.events().emit("MIGRATION_PASS", {{"pass", std::uint64_t{round_}},
                                                 {"pages", start.pages},
                                                 {"bytes", start.pages * kPageSize}});
    log::debug("round {} of {} pages begins", round_, start.pages);
    publish_plan(parts_, start);
    if (!switches_over_) survive_loss(parts_);
    open_ = true;
    parts_.channels.begin_round(round_);
    return continue_round();
}

// Receives what is missing of the round, and confirms it.
Status RecvRounds::continue_round() {
    MIGRATE_ASSIGN(transport::RoundMark mark, receive_part());
    while (true) {
        for (transport::LostChannel& one : parts_.channels.take_losses()) {
            unreported_.push_back(std::move(one));
        }
        if (unreported_.empty()) break;
        if (switches_over_) {
            // No time is left to repair this, and the guest runs on at its source.
            parts_.link.leave();
            return Error(ErrorKind::kLostConnection, "a channel was lost in the last round");
        }
        log::warning("{} data channel(s) lost in round {} (reconnect-timeout): {}",
                     unreported_.size(), round_, parts_.channels.losses().reason());
        MIGRATE_TRY(report_arrived(parts_, round_, unreported_));
        MIGRATE_TRY(await_continuation());
        unreported_.clear();
        parts_.channels.continue_round(round_);
        MIGRATE_ASSIGN(mark, receive_part());
    }
    // The last round before post-copy need not have every page, even if it is the first one.
    if (round_ == 1 && parts_.postcopy.sink() == nullptr) {
        MIGRATE_TRY(parts_.placer.finish_full_round());
    } else {
        MIGRATE_TRY(parts_.placer.finish_round(mark.pages));
        publish_end(parts_, mark);
    }
    if (switches_over_) {
        parts_.devices.end_of_channels();
    } else {
        MIGRATE_TRY(parts_.sink.flush());
    }
    log::debug("round {} is in place", round_);
    open_ = false;
    return parts_.offer.guest.empty() ? Status() : confirm(mark);
}

// The plan of a round that begins. The sender's number is only shown; no round has more pages than
// the memory.
// Receives what the channels bring until ROUND_END, and returns its mark.
Result<transport::RoundMark> RecvRounds::receive_part() {
    MIGRATE_ASSIGN(transport::RoundMark mark, await_round_end());
    if (mark.round != round_) {
        return make_error(ErrorKind::kProtocol, "the sender ends round {} in round {}", mark.round,
                          round_);
    }
    MIGRATE_TRY(parts_.channels.end_channels(mark.lost));
    MIGRATE_TRY(parts_.channels.finish_round(round_));
    return mark;
}

// Without a guest, the sender's COMPLETE may be in transit. It sends another one after the rest of
// the round.
Status RecvRounds::await_continuation() {
    MIGRATE_ASSIGN(
        transport::Frame frame,
        parts_.link.expect({FrameType::kRoundAgain, FrameType::kComplete}, std::nullopt));
    if (frame.type == FrameType::kComplete) {
        MIGRATE_ASSIGN(frame, parts_.link.expect({FrameType::kRoundAgain}, std::nullopt));
    }
    MIGRATE_ASSIGN(const transport::RoundMark mark, transport::decode_round_mark(frame.body));
    if (mark.round == round_) return {};
    return make_error(ErrorKind::kProtocol, "the sender continues round {} in round {}", mark.round,
                      round_);
}

// Returns ROUND_END's mark. Channels that the sender adds before it take part in the round.
Result<transport::RoundMark> RecvRounds::await_round_end() {
    while (true) {
        MIGRATE_ASSIGN(
            const transport::Frame frame,
            parts_.link.expect({FrameType::kRoundEnd, FrameType::kAddChannels}, std::nullopt));
        if (frame.type == FrameType::kRoundEnd) return transport::decode_round_mark(frame.body);
        MIGRATE_ASSIGN(const transport::ChannelCount wanted,
                       transport::decode_channel_count(frame.body));
        MIGRATE_ASSIGN(const transport::ChannelCount added, parts_.add_channels(wanted));
        MIGRATE_TRY(parts_.link.send(FrameType::kChannelsAdded, transport::encode(added)));
    }
}

Status RecvRounds::confirm(const transport::RoundMark& mark) {
    if (round_ == 1) {
        MIGRATE_TRY(
            parts_.link.send(FrameType::kSwitchoverAck, transport::encode(expected_load())));
    }
    MIGRATE_TRY(parts_.link.send(FrameType::kRoundDone, transport::encode(mark)));
    // The guest still runs, and the sender collects the pages of the next round meanwhile.
    if (!switches_over_) return parts_.arrival.prepare_load();
    parts_.placer.end_rounds();
    // The sender computes its digests at the same time.
    const bool whole = parts_.postcopy.sink() == nullptr;
    return parts_.offer.settings.verify() && whole ? compute_digests() : Status();
}

Status RecvRounds::compare(const transport::Completion& completion) {
    const transport::PageCounts& theirs = completion.pages;
    const transport::PageCounts ours = parts_.channels.pages();
    if (ours != theirs) {
        return make_error(
            ErrorKind::kProtocol,
            "the sender counted {} normal, {} zero and {} unpopulated pages; {}, {} and {} arrived",
            theirs.normal, theirs.zero, theirs.unpopulated, ours.normal, ours.zero,
            ours.unpopulated);
    }
    parts_.placer.end_rounds();
    PostcopySink* const postcopy = parts_.postcopy.sink();
    if (completion.missing.has_value() != (postcopy != nullptr)) {
        return Error(ErrorKind::kProtocol,
                     "the sender begins post-copy in COMPLETE, or forgets it");
    }
    if (postcopy != nullptr) return postcopy->arm(*completion.missing);
    return parts_.offer.settings.verify() ? compare_digests(completion) : Status();
}

Status RecvRounds::compute_digests() {
    MIGRATE_ASSIGN(const auto digests,
                   memory::digest_sink(parts_.sink, parts_.offer.regions,
                                       std::max(1U, std::thread::hardware_concurrency()),
                                       parts_.core.token()));
    for (const memory::Digest& digest : digests) digests_.push_back(digest.hex());
    parts_.published.lock()->digests = digests_;
    return {};
}

Status RecvRounds::compare_digests(const transport::Completion& completion) {
    if (digests_.empty()) MIGRATE_TRY(compute_digests());
    if (digests_.size() != completion.digests.size()) {
        return make_error(ErrorKind::kProtocol, "the sender sent {} digests for {} regions",
                          completion.digests.size(), digests_.size());
    }
    for (std::size_t i = 0; i < digests_.size(); ++i) {
        if (digests_[i] == completion.digests[i]) continue;
        return make_error(
            "region '{}' is not a true copy: its digest is {} here and {} at the sender",
            parts_.offer.regions[i].name, digests_[i], completion.digests[i]);
    }
    return {};
}

}  // namespace migrate::engine
