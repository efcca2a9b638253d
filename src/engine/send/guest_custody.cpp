// SPDX-License-Identifier: Apache-2.0
#include "engine/send/guest_custody.hpp"

#include "base/log.hpp"

namespace migrate::engine {

bool GuestCustody::cancel(Error error) {
    // Holds the lock, since hand_over() checks the session and hands over in one step under it.
    const auto published = published_.lock();
    if (published->handed_over) return false;
    session_.fail(std::move(error));
    return true;
}

Status GuestCustody::hand_over() {
    // The last moment to keep a guest here that someone else has resumed.
    MIGRATE_TRY(live_->check_still());
    const auto published = published_.lock();
    if (session_.stopped()) return Error(ErrorKind::kCancelled, "cancelled");
    live_->hand_over();
    published->handed_over = true;
    published->owner = GuestOwner::kUnknown;
    return {};
}

void GuestCustody::arrived() {
    if (live_ != nullptr) published_.lock()->owner = GuestOwner::kDestination;
}

void GuestCustody::restore() {
    if (live_ == nullptr || live_->handed_over()) return;
    Status status = live_->restore();
    if (!status) restored_ = std::move(status);
}

Status GuestCustody::settle(Status result, std::optional<bool> runs_there) {
    if (live_ == nullptr) return result;
    if (!result) {
        result = live_->handed_over() ? settle_handed_over(std::move(result), runs_there)
                                      : explain(std::move(result), restored_);
    }
    const auto published = published_.lock();
    published->guest_state = result ? "postmigrate" : live_->guest_runs() ? "running" : "paused";
    if (!result && result.error().kind() == ErrorKind::kOwnerUnknown) {
        published->owner = GuestOwner::kUnknown;
    }
    return result;
}

Status GuestCustody::settle_handed_over(Status result, std::optional<bool> runs_there) {
    if (runs_there == false) {
        {
            const auto published = published_.lock();
            live_->take_back();
            published->handed_over = false;
            published->owner = GuestOwner::kSource;
        }
        return explain(std::move(result), live_->restore());
    }
    Status kept = live_->restore();
    if (!kept) log::error("{}", kept.error().message());
    const auto published = published_.lock();
    if (runs_there == true || published->owner == GuestOwner::kDestination) {
        published->owner = GuestOwner::kDestination;
        return std::move(result).error().with_context(
            "the guest was handed over and runs at the destination, but the receiver failed "
            "afterwards; it is kept paused here");
    }
    return std::move(result)
        .error()
        .with_context(
            "the guest was handed over, but the receiver did not confirm that it runs; it is kept "
            "paused here: look at the destination, and let the guest run on one side only")
        .as(ErrorKind::kOwnerUnknown);
}

// Adds to the session's error what another client did to the guest, and why it could not be
// resumed.
Status GuestCustody::explain(Status result, Status restored) const {
    Error error = std::move(result).error();
    const std::string disturbance = live_->disturbance();
    if (!disturbance.empty() && error.message().find(disturbance) == std::string::npos) {
        error = Error(
            error.kind() == ErrorKind::kCancelled ? ErrorKind::kCancelled : ErrorKind::kFailed,
            fmt::format("{} ({})", disturbance, error.message()));
    }
    if (restored || restored.error().message() == error.message()) return error;
    return Error(restored.error().kind() == ErrorKind::kOwnerUnknown ? ErrorKind::kOwnerUnknown
                                                                     : error.kind(),
                 fmt::format("{}; {}", error.message(), restored.error().message()));
}

}  // namespace migrate::engine
