#include "engine/recv/recv_channel_group.hpp"

#include "engine/report/session_report.hpp"

namespace migrate::engine {

RecvChannelGroup::RecvChannelGroup(const Needs& needs, unsigned channels)
    : times_(needs.times),
      cancellation_(needs.session),
      gate_(channels),
      shared_{.limits = needs.limits,
              .placer = needs.placer,
              .discards = needs.discards,
              .gate = gate_,
              .ended_round = {},
              .devices = needs.devices} {}

Result<std::unique_ptr<RecvChannelGroup>> RecvChannelGroup::create(
    std::vector<transport::Socket> sockets, const Needs& needs) {
    std::unique_ptr<RecvChannelGroup> group(
        new RecvChannelGroup(needs, static_cast<unsigned>(sockets.size())));
    for (transport::Socket& socket : sockets) {
        const ChannelId id{static_cast<std::uint16_t>(group->channels_.size())};
        MIGRATE_ASSIGN(auto channel, RecvChannel::create(id, std::move(socket), needs.limits));
        group->channels_.push_back(std::move(channel));
    }
    return group;
}

Status RecvChannelGroup::start() {
    workers_.reserve(channels_.size());
    for (const auto& channel : channels_) {
        const auto work = [this, worker = channel.get()]() -> Status {
            const std::stop_token stop = cancellation_.token();
            const std::stop_callback wake(stop, [worker] { worker->shutdown(); });
            return worker->run(shared_, stop);
        };
        MIGRATE_ASSIGN(SessionThread worker,
                       SessionThread::start(fmt::format("multifdrecv_{}", index_of(channel->id())),
                                            times_, cancellation_, work));
        workers_.push_back(std::move(worker));
    }
    return {};
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

void RecvChannelGroup::fill(Report& report) const { add_channels(report, channels_); }

}  // namespace migrate::engine
