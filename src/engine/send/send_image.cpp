// The sending side of an image, which nobody writes: one round, then the comparison.

#include <algorithm>

#include "engine/send/send_session.hpp"

namespace migrate::engine {

using Clock = DeviceCounters::Clock;

// An image does not change: its only round is its last, and its downtime is the whole transfer.
Status SendSession::migrate_image() {
    constexpr std::uint32_t kOnlyRound = 1;
    if (config_.devices.empty()) {
        MIGRATE_TRY(run_round(kOnlyRound, plan_all()));
        MIGRATE_TRY(complete_image());
        return {};
    }
    const auto us = [](Clock::duration time) {
        return std::chrono::duration_cast<Microseconds>(time);
    };
    const Clock::time_point began = Clock::now();
    MIGRATE_TRY(link_->send(transport::FrameType::kSwitchoverStart, "{}"));
    MIGRATE_TRY(start_devices());
    MIGRATE_TRY(run_round(kOnlyRound, plan_all()));
    const Clock::time_point memory_done =
        shared_.devices != nullptr ? devices_->memory_done() : Clock::now();
    DowntimeReport downtime{.last_round = us(memory_done - began)};
    MIGRATE_TRY(send_devices_in_turn());
    downtime.devices = us(Clock::now() - memory_done);
    MIGRATE_ASSIGN(const ImageEnd end, complete_image());
    downtime.digest = end.digest;
    downtime.devices += Microseconds(end.done.devices_us);
    downtime.total = us(Clock::now() - began);
    downtime.wire = std::max(
        Microseconds(0), downtime.total - downtime.last_round - downtime.devices - downtime.digest);
    const std::scoped_lock lock(mutex_);
    downtime_ = downtime;
    return {};
}

// The sender sends nothing after COMPLETE, so that both sides' byte counts end with it.
Result<SendSession::ImageEnd> SendSession::complete_image() {
    const DeviceCounters::Clock::time_point began = DeviceCounters::Clock::now();
    transport::Completion completion;
    MIGRATE_TRY(make_completion(completion));
    const Microseconds digest(static_cast<std::int64_t>(DeviceCounters::us_since(began)));
    link_->stop_sending_heartbeats();
    MIGRATE_TRY(link_->send(transport::FrameType::kComplete, transport::encode(completion)));
    MIGRATE_ASSIGN(const transport::Done done, await_done(completion));
    return ImageEnd{done, digest};
}

}  // namespace migrate::engine
