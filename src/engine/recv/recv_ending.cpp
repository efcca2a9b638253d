// SPDX-License-Identifier: Apache-2.0
#include "engine/recv/recv_ending.hpp"

#include "base/log.hpp"

namespace migrate::engine {

using transport::FrameType;

// True for the loss of a main channel that the session survives.
bool RecvEnding::survives(const Error& error) const {
    return error.kind() == ErrorKind::kLostConnection && needs_.link.lost() &&
           needs_.link.survives_loss();
}

Result<std::optional<transport::Done>> RecvEnding::take_over(transport::Done done) {
    guest_.loaded = true;
    const auto take = [&]() -> Result<std::optional<transport::Done>> {
        const Status acknowledged = needs_.arrival.acknowledge(needs_.link);
        if (!acknowledged && !survives(acknowledged.error())) return acknowledged.error();
        MIGRATE_ASSIGN(const bool mine, await_handover());
        if (!mine) return std::optional<transport::Done>();
        MIGRATE_ASSIGN(done, needs_.arrival.run(done));
        if (needs_.postcopy != nullptr) needs_.postcopy->guest_runs();
        return std::optional(done);
    };
    auto taken = take();
    // The sender may have handed the guest over and must learn that it does not run here.
    if (!taken && needs_.link.lost() && !gone_ && !needs_.core.stopped()) {
        const auto back = rejoin();
        if (!back) {
            log::warning("the sender does not know of the failure: {}", back.error().message());
        }
    }
    return taken;
}

// Returns false if the sender has kept its guest.
Result<bool> RecvEnding::await_handover() {
    while (true) {
        const auto handover = needs_.link.expect({FrameType::kHandover}, std::nullopt);
        if (handover) {
            MIGRATE_ASSIGN(const transport::PauseTime time,
                           transport::decode_pause_time(handover->body));
            needs_.arrival.note_pause(time);
            break;
        }
        if (!survives(handover.error())) return handover.error();
        MIGRATE_ASSIGN(const transport::Resume back, rejoin());
        if (!back.handed_over) return false;
    }
    guest_.handed_over = true;
    needs_.link.stop_expecting_heartbeats();
    return true;
}

Result<transport::Resume> RecvEnding::rejoin() {
    gone_ = true;
    MIGRATE_ASSIGN(transport::Resume back, needs_.rounds.rejoin(guest_));
    gone_ = false;
    return back;
}

Status RecvEnding::confirm(const transport::Done& done) {
    // The wait for the sender's acknowledgement is no part of the migration.
    if (needs_.postcopy == nullptr) needs_.core.stop_clock();
    while (true) {
        Status confirmed = confirm_once(done);
        if (confirmed || !survives(confirmed.error())) return confirmed;
        MIGRATE_TRY(rejoin());
        if (guest_.loaded) continue;
        const Status again = await_completion_again(done);
        if (!again && !survives(again.error())) return again;
    }
}

Status RecvEnding::confirm_once(const transport::Done& done) {
    PeerLink& link = needs_.link;
    link.stop_sending_heartbeats();
    MIGRATE_TRY(link.send(FrameType::kDone, transport::encode(done)));
    if (!link.survives_loss()) return {};
    MIGRATE_ASSIGN(const auto came, link.expect_within({FrameType::kDoneAck}, needs_.io_timeout));
    if (came) return {};
    link.drop();
    return Error(ErrorKind::kLostConnection, "the sender did not acknowledge DONE");
}

// The sender of an image repeats COMPLETE, which it has sent once without an answer.
Status RecvEnding::await_completion_again(const transport::Done& done) {
    MIGRATE_ASSIGN(const transport::Frame frame,
                   needs_.link.expect({FrameType::kComplete}, std::nullopt));
    MIGRATE_ASSIGN(const transport::Completion again, transport::decode_completion(frame.body));
    if (again.pages == done.pages) return {};
    return Error(ErrorKind::kProtocol, "the sender repeats COMPLETE with other numbers of pages");
}

}  // namespace migrate::engine
