// SPDX-License-Identifier: Apache-2.0
#include "engine/send/channel_repair.hpp"

#include <algorithm>
#include <utility>

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

std::uint16_t ChannelRepair::lacking(std::uint16_t path) const {
    const std::uint16_t wanted = needs_.paths.wanted(path);
    const std::uint16_t working = needs_.channels.working_on(path);
    if (working >= wanted) return 0;
    return std::min<std::uint16_t>(wanted - working, lacking());
}

// Other paths may have channels of a path that did not answer at the start.
std::uint16_t ChannelRepair::lacking() const {
    const unsigned present = needs_.channels.count();
    const unsigned working = present - needs_.channels.losses().count();
    const unsigned wanted = needs_.paths.all_wanted();
    const unsigned lost = wanted - std::min(wanted, working);
    return static_cast<std::uint16_t>(std::min(lost, kMaxChannelIds - present));
}

std::optional<RoundGate::Clock::time_point> ChannelRepair::next_look() const {
    std::optional<Clock::time_point> next;
    if (lacking() == 0) return next;
    for (std::uint16_t i = 0; i < needs_.paths.count(); ++i) {
        if (lacking(i) == 0) continue;
        next = std::min(next.value_or(Clock::time_point::max()), pacing_[i].due());
    }
    return next;
}

void ChannelRepair::survive() {
    if (!needs_.channels.losses().survives()) return;
    needs_.link.survive_loss([&channels = needs_.channels, &control = control_] {
        channels.cut();
        control.interrupt();
    });
}

void ChannelRepair::in_round(const transport::RoundMark& mark) {
    round_ = mark;
    survive();
}

void ChannelRepair::hand_over(const transport::RoundMark& last) {
    round_ = last;
    handed_over_ = true;
    needs_.channels.survive_losses();
    survive();
}

Status ChannelRepair::look() {
    if (needs_.link.lost()) return restore(Needed::kDataChannel);
    return attempt(By::kDuePaths);
}

void ChannelRepair::report_losses() {
    const std::uint16_t lost = needs_.channels.losses().count();
    if (lost == reported_) return;
    // Logged here, not by the channels' threads: they also lose their connections when the peer
    // fails, and then the peer's reason is the message.
    log::warning("{} of {} data channels lost (reconnect-timeout): {}", lost,
                 needs_.channels.count(), needs_.channels.losses().reason());
    reported_ = lost;
    if (needs_.paths.count() == 1 || needs_.channels.all_lost()) return;
    for (std::uint16_t i = 0; i < needs_.paths.count(); ++i) {
        if (needs_.channels.working_on(i) != 0 || lacking(i) == 0) continue;
        log::warning("path {} has no data channel left; the other paths go on",
                     needs_.paths.name(i));
    }
}

// One attempt by each of these paths that lacks channels. The path of the main channel comes first,
// because it works.
Status ChannelRepair::attempt(By by) {
    if (lacking() == 0) return {};
    report_losses();
    for (const std::uint16_t path : needs_.paths.in_order()) {
        if (lacking(path) == 0) continue;
        if (by == By::kDuePaths && Clock::now() < pacing_[path].due()) continue;
        MIGRATE_TRY(attempt_by(path));
        if (needs_.link.lost()) return {};
        if (by == By::kFirstPath && !needs_.channels.all_lost()) return {};
    }
    return {};
}

Status ChannelRepair::attempt_by(std::uint16_t path) {
    const std::uint16_t present = needs_.channels.count();
    const std::vector<std::uint16_t> paths(lacking(path), path);
    Result<Addition> answer = add_channels(needs_, paths);
    if (!answer) return needs_.link.lost() ? Status() : Status(std::move(answer).error());
    Addition added = *std::move(answer);
    const auto more = static_cast<std::uint16_t>(added.channels - present);
    pacing_[path].tried(Clock::now());
    reason_ = std::move(added.reason);
    if (more == 0) {
        log::debug("a lost channel is not replaced yet: {}", reason_);
        return {};
    }
    log::info("{} lost channel(s) replaced{}", more,
              needs_.paths.count() == 1 ? "" : " on path " + needs_.paths.name(path));
    needs_.core.events().emit("MULTIFD_CHANNELS_ADDED",
                              {{"channels", std::uint64_t{added.channels}}});
    return {};
}

Status ChannelRepair::await_channel() {
    // The main channel was just made again, and the outage ended with it.
    if (std::exchange(main_is_new_, false) && !needs_.link.lost())
        MIGRATE_TRY(attempt(By::kAllPaths));
    return lacks(Needed::kDataChannel) ? restore(Needed::kDataChannel) : Status();
}

Result<transport::Resumed> ChannelRepair::rejoin() {
    MIGRATE_TRY(restore(Needed::kMainChannel));
    main_is_new_ = true;
    return resumed_;
}

// Waits until there is a channel again, which is an outage.
Status ChannelRepair::restore(Needed needed) {
    const Clock::time_point began = Clock::now();
    begin_outage();
    Status waited = wait_for(needed);
    end_outage(began, waited);
    return waited;
}

Status ChannelRepair::wait_for(Needed needed) {
    const Clock::time_point began = Clock::now();
    const milliseconds limit = needs_.config.reconnect_timeout;
    const std::stop_token stop = needs_.core.token();
    bool main_lost = false;
    const auto soon = [&] {
        const Clock::time_point latest = Clock::now() + kOutagePause;
        if (main_lost) return std::min(main_pacing_.due(), latest);
        return std::min(next_look().value_or(latest), latest);
    };
    Clock::time_point next = soon();
    while (lacks(needed)) {
        if (!std::exchange(main_lost, needs_.link.lost()) && main_lost) {
            needs_.channels.lose_all(
                Error(ErrorKind::kLostConnection, "the main channel was lost"));
            reported_ = needs_.channels.losses().count();
            next = Clock::now();
        }
        const auto left = std::chrono::floor<milliseconds>(began + limit - Clock::now());
        if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
        if (left.count() <= 0 || (!main_lost && lacking() == 0)) return too_late();
        if (Clock::now() < next) {
            pause_until(stop, std::min(next, began + limit));
            continue;
        }
        MIGRATE_TRY(main_lost ? reconnect(left) : attempt(By::kFirstPath));
        next = main_lost && !needs_.link.lost() ? Clock::now() : soon();
    }
    return {};
}

// One attempt to make the main channel again. The receiver begins the round if it has not.
Status ChannelRepair::reconnect(milliseconds left) {
    MIGRATE_ASSIGN(const auto resumed, reconnection_.attempt({round_.round, handed_over_}, left));
    main_pacing_.tried(Clock::now());
    if (!resumed) return {};
    resumed_ = *resumed;
    if (resumed_.round == round_.round) return {};
    const Status began =
        needs_.link.send(transport::FrameType::kRoundStart, transport::encode(round_));
    return began || needs_.link.lost() ? Status() : began;
}

// A main channel that is lost for good is no kLostConnection, which would be survived once more.
Error ChannelRepair::too_late() const {
    const auto because = [](const std::string& reason) {
        return reason.empty() ? std::string() : ": " + reason;
    };
    const auto limit = needs_.config.reconnect_timeout.count();
    if (needs_.link.lost()) {
        return make_error(ErrorKind::kTimeout,
                          "the main channel was lost, and could not be made again within {} ms "
                          "(reconnect-timeout){}",
                          limit, because(reconnection_.reason()));
    }
    return make_error(ErrorKind::kLostConnection,
                      "all data channels were lost, and none could be made again within {} ms "
                      "(reconnect-timeout){}",
                      limit, because(reason_));
}

void ChannelRepair::begin_outage() {
    const auto limit = static_cast<std::uint64_t>(needs_.config.reconnect_timeout.count());
    if (needs_.link.lost()) {
        log::warning(
            "the main channel was lost ({}); the sender reconnects for up to {} ms "
            "(reconnect-timeout)",
            needs_.link.loss_reason(), limit);
    } else {
        log::warning(
            "no data channel is left; the sender reconnects for up to {} ms "
            "(reconnect-timeout)",
            limit);
    }
    needs_.core.events().emit("MIGRATION_INTERRUPTED", {{"reconnect-timeout", limit}});
    control_.begin_outage();
}

void ChannelRepair::end_outage(Clock::time_point began, const Status& ended) {
    const auto lasted = std::chrono::ceil<Microseconds>(Clock::now() - began);
    control_.end_outage(lasted);
    needs_.channels.add_outage(lasted);
    if (!ended) return;
    log::info("connected again after {} ms", lasted.count() / 1000);
    needs_.core.events().emit("MIGRATION_RESUMED",
                              {{"duration", static_cast<std::uint64_t>(lasted.count() / 1000)}});
}

}  // namespace migrate::engine
