#include "engine/send/channel_repair.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "base/mutex.hpp"

namespace migrate::engine {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kShortestPause{50};
// The pause doubles with each attempt up to this one, because an attempt that fails may delay the
// end of the round by the time limits of add_channels().
constexpr milliseconds kLongestPause{8000};
// The longest pause while there is no channel at all: then an attempt delays nothing.
constexpr milliseconds kOutagePause{250};
// If no attempt was needed for this long after the last pause, that connection was stable: the next
// pause is the shortest again.
constexpr milliseconds kStableTime{5000};

}  // namespace

void ReconnectPacing::tried(Clock::time_point now) {
    const bool stable = tried_ == Clock::time_point{} || now - tried_ >= pause_ + kStableTime;
    pause_ = stable ? kShortestPause : std::min(2 * pause_, kLongestPause);
    tried_ = now;
    due_ = now + pause_;
}

std::uint16_t ChannelRepair::lacking() const {
    const std::uint16_t lost = needs_.channels.losses().count();
    const auto room = static_cast<std::uint16_t>(kMaxChannelIds - needs_.channels.count());
    return std::min<std::uint16_t>(lost - replaced_, room);
}

std::optional<RoundGate::Clock::time_point> ChannelRepair::next_look() const {
    if (lacking() == 0) return std::nullopt;
    return pacing_.due();
}

Status ChannelRepair::look() {
    if (lacking() == 0 || Clock::now() < pacing_.due()) return {};
    return attempt();
}

Status ChannelRepair::attempt() {
    const std::uint16_t present = needs_.channels.count();
    if (const std::uint16_t lost = needs_.channels.losses().count(); lost != reported_) {
        // Logged here, not by the channels' threads: they also lose their connections when the peer
        // fails, and then the peer's reason is the message.
        log::warning("{} of {} data channels lost (reconnect-timeout): {}", lost, present,
                     needs_.channels.losses().reason());
        reported_ = lost;
    }
    MIGRATE_ASSIGN(Addition added,
                   add_channels(needs_, static_cast<std::uint16_t>(present + lacking())));
    const auto more = static_cast<std::uint16_t>(added.channels - present);
    pacing_.tried(Clock::now());
    replaced_ += more;
    reason_ = std::move(added.reason);
    if (more == 0) {
        log::debug("a lost channel is not replaced yet: {}", reason_);
        return {};
    }
    log::info("{} lost channel(s) replaced", more);
    needs_.core.events().emit("MULTIFD_CHANNELS_ADDED",
                              {{"channels", std::uint64_t{added.channels}}});
    return {};
}

Status ChannelRepair::await_channel() {
    const Clock::time_point began = Clock::now();
    const milliseconds limit = needs_.config.reconnect_timeout;
    const std::stop_token stop = needs_.core.token();
    log::warning(
        "no data channel is left; the sender reconnects for up to {} ms "
        "(reconnect-timeout)",
        limit.count());
    needs_.core.events().emit("MIGRATION_INTERRUPTED",
                              {{"reconnect-timeout", static_cast<std::uint64_t>(limit.count())}});
    control_.begin_outage();
    Status waited;
    Clock::time_point due = std::min(pacing_.due(), began + kOutagePause);
    while (waited && needs_.channels.all_lost()) {
        if (stop.stop_requested()) {
            waited = Error(ErrorKind::kCancelled, "cancelled");
        } else if (lacking() == 0 || Clock::now() - began >= limit) {
            waited = make_error(ErrorKind::kLostConnection,
                                "all data channels were lost, and none could be made again within "
                                "{} ms (reconnect-timeout){}{}",
                                limit.count(), reason_.empty() ? "" : ": ", reason_);
        } else if (Clock::now() < due) {
            pause_until(stop, std::min(due, began + limit));
        } else {
            waited = attempt();
            due = std::min(pacing_.due(), Clock::now() + kOutagePause);
        }
    }
    const auto lasted = std::chrono::ceil<Microseconds>(Clock::now() - began);
    control_.end_outage(lasted);
    needs_.channels.add_outage(lasted);
    if (!waited) return waited;
    needs_.core.events().emit("MIGRATION_RESUMED",
                              {{"duration", static_cast<std::uint64_t>(lasted.count() / 1000)}});
    return waited;
}

}  // namespace migrate::engine
