#include "engine/recv/recv_ending.hpp"

#include "base/log.hpp"

namespace migrate::engine {

using transport::FrameType;

// True for the loss of a main channel that the session survives.
bool RecvEnding::survives(const Error& error) const {
    return error.kind() == ErrorKind::kLostConnection && needs_.link.lost() &&
           needs_.link.survives_loss();
}

Result<transport::Done> RecvEnding::take_over(transport::Done done) {
    loaded_ = true;
    Status status = needs_.arrival.acknowledge(needs_.link);
    if (!status && survives(status.error())) status = {};
    if (status) status = await_handover();
    Result<transport::Done> taken =
        status ? needs_.arrival.run(done) : Result<transport::Done>(std::move(status).error());
    // The sender may have handed the guest over and must learn that it does not run here.
    if (!taken && needs_.link.lost() && !gone_ && !needs_.core.stopped()) {
        const Status back = rejoin();
        if (!back)
            log::warning("the sender does not know of the failure: {}", back.error().message());
    }
    return taken;
}

Status RecvEnding::await_handover() {
    while (true) {
        const auto handover = needs_.link.expect({FrameType::kHandover}, std::nullopt);
        if (handover) break;
        if (!survives(handover.error())) return handover.error();
        MIGRATE_TRY(rejoin());
    }
    handed_over_ = true;
    needs_.link.stop_expecting_heartbeats();
    return {};
}

// All channels are lost, too, and are not made again: nothing is missing.
Status RecvEnding::rejoin() {
    log::warning("the main channel was lost after the last round (reconnect-timeout): {}",
                 needs_.link.loss_reason());
    needs_.core.events().emit("MIGRATION_INTERRUPTED", {{"pass", std::uint64_t{round_}}});
    needs_.channels.lose_all(Error(ErrorKind::kLostConnection, "the main channel was lost"));
    static_cast<void>(needs_.channels.take_losses());
    gone_ = true;
    MIGRATE_ASSIGN(const transport::Resume resume,
                   needs_.rejoin({.round = round_,
                                  .complete = true,
                                  .channels = needs_.channels.count(),
                                  .load = {},
                                  .loaded = loaded_,
                                  .handed_over = handed_over_}));
    gone_ = false;
    needs_.core.events().emit("MIGRATION_RESUMED", {{"pass", std::uint64_t{round_}}});
    if (!loaded_ || resume.handed_over) return {};
    return Error(
        "the main channel was lost before the guest was handed over, and its sender keeps it");
}

Status RecvEnding::confirm(const transport::Done& done) {
    // The wait for the sender's acknowledgement is no part of the migration.
    needs_.core.stop_clock();
    while (true) {
        Status confirmed = confirm_once(done);
        if (confirmed || !survives(confirmed.error())) return confirmed;
        MIGRATE_TRY(rejoin());
        if (loaded_) continue;
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
