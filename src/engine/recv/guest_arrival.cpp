// SPDX-License-Identifier: Apache-2.0
#include "engine/recv/guest_arrival.hpp"

#include <algorithm>
#include <span>
#include <vector>

#include "base/catching.hpp"

namespace migrate::engine {

using transport::FrameType;

Status GuestArrival::watch(const guest::Destination& destination) {
    loader_ = destination.loader.get();
    if (loader_ == nullptr) return {};
    MIGRATE_ASSIGN(watcher_,
                   GuestWatcher::start_for(destination.loader->process(), core_,
                                           [this](Error ended) { cancel(std::move(ended)); }));
    return {};
}

void GuestArrival::note_pause(const transport::PauseTime& time) {
    const Clock::time_point at = Clock::now() - Microseconds(time.microseconds.value_or(0));
    paused_at_ = paused_at_ ? std::min(*paused_at_, at) : at;
}

Status GuestArrival::prepare_load() {
    return loader_ == nullptr ? Status() : loader_->prepare_load(core_.token());
}

Status GuestArrival::load(const guest::Destination& destination, const transport::Offer& offer) {
    // A guest that cannot be loaded may end its process: loading itself gives the reason. The
    // thread is joined when the guest runs.
    if (watcher_) watcher_->end();
    const Clock::time_point began = Clock::now();
    std::vector<std::span<std::byte>> memory;
    for (std::size_t i = 0; i < offer.regions.size(); ++i) {
        memory.push_back(destination.memory->memory(RegionId{static_cast<std::uint16_t>(i)}));
    }
    MIGRATE_ASSIGN(guest_, destination.load(offer.guest, devices_.guest_state(), std::move(memory),
                                            core_.token()));
    const auto published = published_.lock();
    published->guest = guest_.get();
    published->downtime.load = std::chrono::ceil<Microseconds>(Clock::now() - began);
    return {};
}

Status GuestArrival::acknowledge(PeerLink& link) {
    const transport::LoadTime load{
        static_cast<std::uint64_t>(published_.lock()->downtime.load.count())};
    Status sent = link.send(FrameType::kLoaded, transport::encode(load));
    Status prepared = guest_->prepare_resume();
    if (prepared) return sent;
    // The guest's own connection says nothing about the sender's.
    const bool lost = prepared.error().kind() == ErrorKind::kLostConnection;
    return lost ? std::move(prepared).error().as(ErrorKind::kFailed) : prepared.error();
}

Result<transport::Done> GuestArrival::run(transport::Done done) {
    {
        // If the sender was told that this side failed, it was also told that the guest will not
        // run here.
        const auto published = published_.lock();
        if (published->fate != GuestFate::kUndecided) {
            return Error(ErrorKind::kCancelled, "cancelled");
        }
        published->fate = GuestFate::kResuming;
    }
    const Clock::time_point began = Clock::now();
    MIGRATE_TRY(resume());
    const Clock::time_point resumed = Clock::now();
    watcher_.reset();
    static_cast<void>(catching("event RESUME", [this]() -> Status {
        core_.events().emit("RESUME", {});
        return {};
    }));
    const auto published = published_.lock();
    DowntimeReport& downtime = published->downtime;
    downtime.resume = std::chrono::ceil<Microseconds>(resumed - began);
    downtime.total = std::chrono::ceil<Microseconds>(resumed - *paused_at_);
    done.resume_us = static_cast<std::uint64_t>(downtime.resume.count());
    done.downtime_us = static_cast<std::uint64_t>(downtime.total.count());
    return done;
}

// Commits the devices, resumes the guest and decides its fate. Not called before the handover: a
// sender that never hands the guest over keeps its devices, too.
Status GuestArrival::resume() {
    Status resuming = catching("the guest", [this] {
        Status committed = devices_.commit();
        return committed ? guest_->resume() : committed;
    });
    GuestFate fate = GuestFate::kRuns;
    if (!resuming) {
        // Unless that is unknown, the guest is stopped, and the sender may take it back.
        fate = resuming.error().kind() == ErrorKind::kOwnerUnknown ? GuestFate::kUnknown
                                                                   : GuestFate::kAbandoned;
    }
    published_.lock()->fate = fate;
    return resuming;
}

std::optional<bool> GuestArrival::settle_fate() {
    const auto published = published_.lock();
    switch (published->fate) {
        case GuestFate::kUndecided:
            published->fate = GuestFate::kAbandoned;
            return false;
        case GuestFate::kAbandoned:
            return false;
        case GuestFate::kRuns:
            return true;
        case GuestFate::kResuming:
        case GuestFate::kUnknown:
            break;
    }
    return std::nullopt;
}

bool GuestArrival::cancel(Error error) {
    // Holds the lock, since take_over() decides the guest's fate in one step under it.
    const auto published = published_.lock();
    if (published->fate != GuestFate::kUndecided && published->fate != GuestFate::kAbandoned) {
        return false;
    }
    core_.cancellation().fail(std::move(error));
    return true;
}

Status GuestArrival::undo(const memory::PageSink& memory) {
    paused_at_.reset();
    if (!guest_) return {};
    const bool used_up = loader_ != nullptr || !memory.may_commit_again();
    drop();
    published_.lock()->downtime = {};
    if (!used_up) return {};
    return make_error(
        "connections were lost after {} had loaded the guest, which it can do once only: it is "
        "used up; the guest runs at its source, and needs a new receiver",
        loader_ != nullptr && !loader_->process().name.empty() ? loader_->process().name
                                                               : std::string(memory.description()));
}

void GuestArrival::drop() {
    published_.lock()->guest = nullptr;
    guest_.reset();
}

GuestOwner owner_of(const RecvFigures& figures) {
    if (figures.offer.guest.empty()) return GuestOwner::kNone;
    switch (figures.fate) {
        case GuestFate::kRuns:
            return GuestOwner::kDestination;
        case GuestFate::kResuming:
        case GuestFate::kUnknown:
            return GuestOwner::kUnknown;
        case GuestFate::kUndecided:
        case GuestFate::kAbandoned:
            break;
    }
    return GuestOwner::kSource;
}

}  // namespace migrate::engine
