// SPDX-License-Identifier: Apache-2.0
#include "engine/recv/recv_session.hpp"

#include <functional>

#include "base/log.hpp"
#include "engine/devices/device_counters.hpp"
#include "engine/recv/channel_additions.hpp"
#include "engine/recv/recv_ending.hpp"
#include "engine/recv/recv_report.hpp"

namespace migrate::engine {

using transport::FrameType;

RecvSession::~RecvSession() {
    // The text is short enough to need no heap memory.
    core_.cancellation().fail(Error(ErrorKind::kCancelled, "session ended"));
    postcopy_.stop();
    end_threads();
}

Result<std::unique_ptr<RecvSession>> RecvSession::create(
    RecvConfig config, EventLog& events, std::unique_ptr<transport::Listener> listener) {
    MIGRATE_TRY(check_cpus(config.cpu));
    std::unique_ptr<RecvSession> session(new RecvSession(std::move(config), events));
    // Opened once now, so that an error of the sink is reported before a sender comes.
    const RecvConfig& own = session->config_;
    MIGRATE_ASSIGN(session->destination_, own.open_destination());
    session->listener_ = std::move(listener);
    if (session->listener_) return session;
    MIGRATE_ASSIGN(session->listener_,
                   transport::Listener::create(own.listen, own.handshake_timeout, own.security));
    return session;
}

Status RecvSession::run() {
    return core_.run([this] { return migrate(); },
                     [this](Status result) { return settle(std::move(result)); },
                     [this] { return owner(); });
}

Status RecvSession::fail(Error reason) {
    return core_.run([&reason] { return Status(std::move(reason)); },
                     [this](Status result) { return settle(std::move(result)); },
                     [this] { return owner(); });
}

Status RecvSession::migrate() {
    MIGRATE_TRY(arrival_.watch(destination_));
    MIGRATE_ASSIGN(Reception::Begun begun, reception_.await_session(*listener_));
    MIGRATE_TRY(accept(begun));
    MIGRATE_ASSIGN(const transport::Ready ready, open_channels(std::move(begun)));
    core_.enter(Stage::kPagesMayMove);
    MIGRATE_TRY(link_->send(FrameType::kReady, transport::encode(ready)));
    core_.activate();
    ChannelAdditions additions(core_, reception_, *listener_, offer_, *channels_);
    memory::PageSink& sink = *destination_.memory;
    ReuseAnswers reuse({offer_.regions,
                        sink.partial(),
                        {sink.leftovers(), destination_.reuse.get()},
                        *placer_,
                        published_},
                       reception_.agreement().reuse_key);
    const auto add = [&](const auto& wanted) { return additions.take(wanted); };
    const auto rejoin = [this](const transport::Resumed& here) {
        return reception_.await_return(*listener_, offer_, *link_, here);
    };
    const RecvParts parts{core_,    published_, *link_, *channels_, *placer_, *destination_.memory,
                          devices_, arrival_,   offer_, add,        reuse,    postcopy_,
                          rejoin};
    RecvRounds rounds(parts);
    for (bool ended = false; !ended;) {
        MIGRATE_ASSIGN(const transport::Completion completion, rounds.run());
        MIGRATE_ASSIGN(ended, complete(completion, rounds));
    }
    return {};
}

Status RecvSession::accept(Reception::Begun& begun) {
    offer_ = std::move(begun.offer);
    published_.lock()->offer = offer_;
    MIGRATE_ASSIGN(link_, reception_.link(std::move(begun.main), offer_,
                                          [this] { return arrival_.settle_fate(); }));
    const Reception::Agreement& agreed = reception_.agreement();
    core_.agreed(agreed.session);
    devices_.accept(agreed.times.data.busy, agreed.checksums.limit());
    published_.lock()->link = link_.get();
    return {};
}

// Starts the threads of the sender's channels.
Result<transport::Ready> RecvSession::open_channels(Reception::Begun begun) {
    const auto run_helper = [this](const std::string& name, const std::function<void()>& work) {
        run_timed(name, core_.times(), work);
    };
    MIGRATE_ASSIGN(placer_,
                   memory::PagePlacer::create(*destination_.memory, offer_.regions,
                                              memory::prefault_helpers(offer_.settings.channels()),
                                              run_helper, config_.placement));
    for (std::size_t i = 0; i < offer_.regions.size(); ++i) {
        const memory::PlacementChoice& choice = placer_->placements()[i];
        log::debug("region '{}': placement {}: {}", offer_.regions[i].name,
                   name_of(choice.placement), choice.reason);
    }
    MIGRATE_ASSIGN(
        channels_,
        RecvChannelGroup::create(
            std::move(begun.channels),
            {.limits = {offer_.settings.packet_bytes(), offer_.settings.compression(),
                        offer_.regions, devices_.on_channels(),
                        reception_.agreement().checksums.limit()},
             .checksums = reception_.agreement().checksums,
             .placer = *placer_,
             .discards = destination_.memory->discards(),
             .devices = devices_.for_channels(),
             .times = core_.times(),
             .session = core_.cancellation(),
             .budget = core_.budget(),
             .survives_losses = offer_.reconnect_timeout.has_value(),
             .survives_device_losses = devices_.can_start_again() && !offer_.guest.empty()}));
    published_.lock()->channels = channels_.get();
    MIGRATE_TRY(channels_->start());
    return transport::Ready{DeviceCounters::us_since(begun.arrived)};
}

// All pages are in place: waits for the devices, commits, and with a guest takes it over. Returns
// false if the sender has kept the guest and goes on with its rounds.
Result<bool> RecvSession::complete(const transport::Completion& completion, RecvRounds& rounds) {
    transport::Done done{.pages = completion.pages};
    MIGRATE_ASSIGN(done.devices_us, devices_.await_complete());
    if (core_.stopped()) return Error(ErrorKind::kCancelled, "cancelled");
    const bool guest = !offer_.guest.empty();
    if (guest) MIGRATE_TRY(arrival_.load(destination_, offer_));
    MIGRATE_TRY(destination_.memory->commit());
    RecvEnding ending({core_, *link_, arrival_, rounds, config_.io_timeout, postcopy_.sink()});
    if (guest) {
        MIGRATE_ASSIGN(const auto taken, ending.take_over(done));
        if (!taken) return false;
        done = *taken;
    } else {
        MIGRATE_TRY(devices_.commit());
        committed_ = link_->survives_loss();
    }
    MIGRATE_TRY(ending.confirm(done));
    return true;
}

void RecvSession::end_threads() {
    // The link's thread uses the channels no more.
    if (link_) static_cast<void>(link_->fail_on_loss());
    if (channels_) channels_->finish();
    devices_.join();
    // Also ends the placer's helper threads, because their CPU times belong to the report.
    placer_.reset();
}

Status RecvSession::settle(Status result) {
    if (!result) core_.cancellation().fail_unless_stopped(result.error());
    end_threads();
    if (link_) link_->finish();
    if (!result) {
        core_.cancellation().confirm_lost();
        core_.cancellation().fail(result.error());
    }
    Status status = core_.outcome();
    // This error replaces an earlier one: the user must know that the guest may run here.
    if (!result && result.error().kind() == ErrorKind::kOwnerUnknown) status = result;
    if (arrival_.runs()) postcopy_.finish();
    if (arrival_.runs() || committed_) {
        // All is here, whatever happened to the connection afterwards.
        const char* step = arrival_.runs() ? "handover" : "commit";
        if (!status) log::warning("after the {}: {}", step, status.error().message());
        return {};
    }
    if (status) return status;
    arrival_.drop();
    postcopy_.stop();
    // A sink that is not committed removes its temporary file.
    destination_ = {};
    return status;
}

void RecvSession::cancel(const std::string& reason) {
    if (arrival_.cancel(Error(ErrorKind::kCancelled, reason))) return;
    // Ends the wait for the sender's acknowledgement.
    if (arrival_.runs()) core_.cancellation().fail(Error(ErrorKind::kCancelled, reason));
    log::warning("{}: cannot cancel, the guest was already handed over to this side{}", reason,
                 postcopy_.warning());
}

Report RecvSession::report() const { return make_recv_report(config_, core_, *published_.lock()); }

}  // namespace migrate::engine
