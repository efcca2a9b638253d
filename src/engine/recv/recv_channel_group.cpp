// SPDX-License-Identifier: Apache-2.0
#include "engine/recv/recv_channel_group.hpp"

#include "base/catching.hpp"
#include "base/log.hpp"
#include "engine/report/session_report.hpp"

namespace migrate::engine {

RecvChannelGroup::RecvChannelGroup(const Needs& needs, unsigned channels)
    : times_(needs.times),
      cancellation_(needs.session),
      checksums_(needs.checksums),
      gate_(channels),
      shared_{.limits = needs.limits,
              .placer = needs.placer,
              .discards = needs.discards,
              .gate = gate_,
              .budget = needs.budget,
              .ended_round = {},
              .devices = needs.devices},
      survives_(false),
      survives_device_losses_(needs.survives_device_losses) {
    if (needs.survives_losses) survive_losses();
}

Result<std::unique_ptr<RecvChannelGroup>> RecvChannelGroup::create(
    std::vector<transport::Socket> sockets, const Needs& needs) {
    std::unique_ptr<RecvChannelGroup> group(
        new RecvChannelGroup(needs, static_cast<unsigned>(sockets.size())));
    group->channels_.reserve(kMaxChannelIds);
    group->workers_.reserve(kMaxChannelIds);
    for (transport::Socket& socket : sockets) {
        const ChannelId id{group->count()};
        MIGRATE_ASSIGN(auto channel, RecvChannel::create(id, std::move(socket), needs.limits));
        group->channels_.add(std::move(channel));
    }
    return group;
}

Status RecvChannelGroup::start() {
    std::vector<RecvChannel*> channels;
    channels_.each([&](RecvChannel& channel) { channels.push_back(&channel); });
    for (RecvChannel* channel : channels) MIGRATE_TRY(start_worker(*channel));
    return {};
}

Status RecvChannelGroup::start_worker(RecvChannel& channel) {
    const auto work = [this, &channel]() -> Status {
        const std::stop_token stop = cancellation_.token();
        const std::stop_callback wake(stop, [&channel] { channel.shutdown(); });
        Status ended = channel.run(shared_, stop);
        if (ended || stop.stop_requested()) return ended;
        return leave(channel, std::move(ended).error());
    };
    MIGRATE_ASSIGN(SessionThread worker,
                   SessionThread::start(fmt::format("multifdrecv_{}", index_of(channel.id())),
                                        times_, cancellation_, work));
    workers_.push_back(std::move(worker));
    return {};
}

Status RecvChannelGroup::add(std::vector<transport::Socket> sockets) {
    Status status;
    for (transport::Socket& socket : sockets) {
        status = catching("a channel", [&]() -> Status {
            const ChannelId id{count()};
            MIGRATE_ASSIGN(auto channel,
                           RecvChannel::create(id, std::move(socket), shared_.limits));
            // The thread waits until the gate admits it.
            MIGRATE_TRY(start_worker(*channel));
            channels_.add(std::move(channel));
            return {};
        });
        if (!status) break;
    }
    gate_.admit(count());
    return status;
}

// Called on the channel's thread, which ends. If the session survives the loss, the sender sends on
// other channels what did not arrive.
Status RecvChannelGroup::leave(RecvChannel& channel, Error error) {
    if (channel.ended_in_device() && !survives_device_losses_) return error;
    if (!losses_.add(channel.id(), error)) return error;
    log::debug("{}", error.message());
    // The sender may not have noticed it.
    channel.shutdown();
    gate_.leave(index_of(channel.id()), channel.last_round());
    return {};
}

Status RecvChannelGroup::end_channels(std::span<const std::uint16_t> lost) {
    if (lost.empty()) return {};
    if (!survives_) {
        return Error(ErrorKind::kProtocol,
                     "the sender goes on without a channel, which was not agreed on");
    }
    std::vector<RecvChannel*> channels;
    channels_.each([&](RecvChannel& channel) { channels.push_back(&channel); });
    for (const std::uint16_t id : lost) {
        if (id >= channels.size()) {
            return make_error(ErrorKind::kProtocol,
                              "the sender lost channel {}, and there are {} channels", id,
                              channels.size());
        }
        losses_.add_reported(ChannelId{id});
        channels[id]->shutdown();
    }
    return {};
}

void RecvChannelGroup::cut() {
    channels_.each([](const RecvChannel& channel) { channel.shutdown(); });
}

void RecvChannelGroup::lose_all(const Error& why) {
    losses_.count_main_loss();
    channels_.each([&](const RecvChannel& channel) {
        static_cast<void>(losses_.add(channel.id(), why));
        channel.shutdown();
        gate_.dismiss(index_of(channel.id()));
    });
}

std::vector<transport::LostChannel> RecvChannelGroup::take_losses() {
    std::vector<RecvChannel*> channels;
    channels_.each([&](RecvChannel& channel) { channels.push_back(&channel); });
    std::vector<transport::LostChannel> lost;
    for (const std::uint16_t id : losses_.unsettled()) {
        RecvChannel& channel = *channels[id];
        // If only the sender has noticed the loss, the thread waits for the next round.
        gate_.expel(id);
        workers_[id].join();
        channel.release();
        lost.push_back({id, channel.bytes(), channel.counters().pages.get()});
        losses_.settle(ChannelId{id}, {});
    }
    return lost;
}

Status RecvChannelGroup::fail_on_loss() {
    survives_ = false;
    return losses_.fail_on_loss();
}

void RecvChannelGroup::survive_losses() {
    survives_ = true;
    losses_.survive();
}

Status RecvChannelGroup::finish_round(std::uint32_t round) {
    shared_.ended_round.store(round + shared_.continued, std::memory_order_release);
    if (gate_.wait_for_all(cancellation_.token())) return {};
    return Error(ErrorKind::kCancelled, "cancelled");
}

void RecvChannelGroup::finish() {
    gate_.close();
    workers_.clear();
}

void RecvChannelGroup::shutdown() {
    cancellation_.end();
    finish();
}

transport::PageCounts RecvChannelGroup::pages() const { return pages_of(channels_); }

void RecvChannelGroup::fill(Report& report) const {
    add_channels(report, channels_);
    report.outages = losses_.report();
    report.multifd.channels -= report.outages.channels_lost;
    report.checksums = checksum_report(checksums_, channels_);
}

}  // namespace migrate::engine
