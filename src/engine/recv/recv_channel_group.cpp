#include "engine/recv/recv_channel_group.hpp"

#include <algorithm>

#include "base/catching.hpp"
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
              .devices = needs.devices} {}

Result<std::unique_ptr<RecvChannelGroup>> RecvChannelGroup::create(
    std::vector<transport::Socket> sockets, const Needs& needs) {
    std::unique_ptr<RecvChannelGroup> group(
        new RecvChannelGroup(needs, static_cast<unsigned>(sockets.size())));
    const std::size_t most = std::max<std::size_t>(sockets.size(), needs.most_channels);
    group->channels_.reserve(most);
    group->workers_.reserve(most);
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
        return channel.run(shared_, stop);
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

Status RecvChannelGroup::finish_round(std::uint32_t round) {
    shared_.ended_round.store(round, std::memory_order_release);
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
    report.checksums = checksum_report(checksums_, channels_);
}

}  // namespace migrate::engine
