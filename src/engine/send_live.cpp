// The sending side of a live migration: rounds while the guest runs, and the switchover.

#include <algorithm>
#include <thread>

#include "base/log.hpp"
#include "engine/send_session.hpp"
#include "memory/region_digest.hpp"
#include "transport/socket.hpp"

namespace migrate::engine {

using Clock = std::chrono::steady_clock;
using transport::Frame;
using transport::FrameType;

namespace {

// Memory that is digested to learn how long all of it will take.
constexpr std::uint64_t kDigestSampleBytes = 32 * kMiB;

Microseconds between(Clock::time_point begin, Clock::time_point end) {
    return std::chrono::duration_cast<Microseconds>(end - begin);
}

Microseconds since(Clock::time_point begin) { return between(begin, Clock::now()); }

Error cancelled() { return Error(ErrorKind::kCancelled, "cancelled"); }

}  // namespace

Tunables SendSession::tunables() const {
    const std::scoped_lock lock(mutex_);
    return tunables_;
}

void SendSession::change(const Tunables& tunables) {
    const std::scoped_lock lock(mutex_);
    tunables_ = tunables;
    // The last round is sent without a limit.
    if (core_.status() != MigrationStatus::kDevice) pacer_.set_rate(tunables.max_bandwidth);
}

Status SendSession::continue_switchover() {
    const std::scoped_lock lock(mutex_);
    if (!awaits_continue_) return Error("the migration does not wait for migrate-continue");
    may_switch_over_ = true;
    continued_.notify_all();
    return {};
}

Status SendSession::migrate_live() {
    if (config_.verify) MIGRATE_TRY(time_digest());
    MIGRATE_TRY(live_->start());
    std::uint64_t pages = total_bytes(source_.regions()) / kPageSize;
    {
        const std::scoped_lock lock(mutex_);
        before_ = live_->activity();
    }
    for (std::uint32_t round = 1;; ++round) {
        full_round_ = round == 1;
        MIGRATE_ASSIGN(RoundFigures figures, run_live_round(round, pages));
        MIGRATE_TRY(live_->collect());
        MIGRATE_TRY(live_->check_alive());
        figures.collect_time = live_->collect_time();
        figures.dirty_pages = live_->dirty_pages();
        figures.elapsed = core_.active_time();
        if (round == 1) expect_digest();
        const Decision decision = convergence_.decide(figures, tunables(), fixed_costs(), acked_);
        publish(figures, decision);
        last_reason_ = decision.reason;
        if (decision.action == Action::kGiveUp) {
            return Error(ErrorKind::kTimeout, decision.reason);
        }
        if (decision.action == Action::kSwitchOver) {
            MIGRATE_TRY(live_->check());
            return switch_over(round + 1, decision.expected_downtime);
        }
        MIGRATE_TRY(live_->throttle(decision.cpu_throttle));
        pages = live_->dirty_pages();
    }
}

Result<RoundFigures> SendSession::run_live_round(std::uint32_t round, std::uint64_t pages) {
    const Clock::time_point began = Clock::now();
    const std::uint64_t bytes = channel_bytes();
    const std::uint64_t normal = classified_.get().normal;
    MIGRATE_TRY(run_round(round, pages));
    MIGRATE_TRY(await_round_done(round));
    return RoundFigures{.round = round,
                        .pages = pages,
                        .normal_pages = classified_.get().normal - normal,
                        .bytes = channel_bytes() - bytes,
                        .duration = since(began)};
}

// All of the round is in place at the receiver, which makes the round's time the time it took.
Status SendSession::await_round_done(std::uint32_t round) {
    while (true) {
        MIGRATE_ASSIGN(
            const Frame frame,
            link_->expect({FrameType::kRoundDone, FrameType::kSwitchoverAck}, std::nullopt));
        if (frame.type == FrameType::kSwitchoverAck) {
            MIGRATE_ASSIGN(const transport::LoadTime time, transport::decode_load_time(frame.body));
            load_time_ = Microseconds(time.microseconds);
            acked_ = true;
            continue;
        }
        MIGRATE_ASSIGN(const transport::RoundMark mark, transport::decode_round_mark(frame.body));
        if (mark.round == round) return {};
        return make_error(ErrorKind::kProtocol, "the receiver ended round {} in round {}",
                          mark.round, round);
    }
}

// How long it takes to digest some memory. Before any page goes out: to read one that the guest has
// given back meanwhile would take the hole away that tells of it.
Status SendSession::time_digest() {
    std::vector<memory::PopulationExtent> extents;
    std::uint64_t bytes = 0;
    const Clock::time_point began = Clock::now();
    const RegionId first{0};
    MIGRATE_TRY(source_.population(first, {0, source_.regions()[0].pages()}, extents));
    for (const memory::PopulationExtent& extent : extents) {
        if (!extent.populated || bytes >= kDigestSampleBytes) continue;
        const PageRange pages{extent.pages.first,
                              std::min(extent.pages.count, kDigestSampleBytes / kPageSize)};
        static_cast<void>(memory::digest_pages(source_.memory(first), pages));
        bytes += pages.size_bytes();
    }
    if (bytes == 0) return {};
    digest_us_per_byte_ = static_cast<double>(since(began).count()) / static_cast<double>(bytes);
    return {};
}

// How long it will take for all memory, now that the pages have been counted.
void SendSession::expect_digest() {
    const transport::PageCounts counts = classified_.get();
    const auto bytes = static_cast<double>((counts.normal + counts.zero) * kPageSize);
    // Both sides digest at the same time, perhaps on the same host.
    const double threads = std::max(1.0, std::thread::hardware_concurrency() / 2.0);
    digest_time_ = Microseconds(static_cast<std::int64_t>(digest_us_per_byte_ * bytes / threads));
}

FixedCosts SendSession::fixed_costs() const {
    return {.round_trip = transport::round_trip_time(link_->fd()),
            .load = load_time_,
            .digest = digest_time_};
}

void SendSession::publish(const RoundFigures& figures, const Decision& decision) {
    {
        const std::scoped_lock lock(mutex_);
        rounds_.push_back({figures, decision});
        dirty_pages_ = figures.dirty_pages;
        cpu_throttle_ = decision.cpu_throttle;
    }
    if (!decision.stalled) return;
    core_.events().emit("MIGRATION_STALLED", {{"pass", std::uint64_t{figures.round}},
                                              {"remaining", figures.dirty_pages * kPageSize},
                                              {"reason", decision.reason}});
    log::warning("the migration stalls: {}", decision.reason);
}

Status SendSession::switch_over(std::uint32_t round, Microseconds expected) {
    const Clock::time_point began = Clock::now();
    log::debug("switchover, expected to take {} us", expected.count());
    MIGRATE_TRY(live_->pause());
    DowntimeReport downtime{.stop = since(began)};
    {
        const std::scoped_lock lock(mutex_);
        paused_ = live_->activity();
        guest_state_ = "finish-migrate";
    }
    core_.events().emit("STOP", {});
    if (config_.pause_before_switchover) MIGRATE_TRY(await_continue());
    core_.set_status(MigrationStatus::kDevice);

    const Clock::time_point last_round = Clock::now();
    // As in QEMU: while the guest stands still nothing is held back.
    pacer_.set_rate(0);
    MIGRATE_TRY(link_->send(FrameType::kSwitchoverStart, "{}"));
    MIGRATE_TRY(start_devices());
    // The dirty pages of the last look, and what was written until the pause.
    MIGRATE_TRY(live_->collect_more());
    full_round_ = false;
    MIGRATE_ASSIGN(RoundFigures figures, run_live_round(round, live_->dirty_pages()));
    const Clock::time_point memory_done =
        channel_devices_ != nullptr ? devices_->memory_done() : Clock::now();
    downtime.last_round = between(last_round, memory_done);
    // On the channels the guest's own state is saved meanwhile, by another thread.
    if (channel_devices_ == nullptr) MIGRATE_TRY(live_->check_still());
    MIGRATE_TRY(send_devices_in_turn());
    downtime.devices = since(memory_done);

    const Clock::time_point saving = Clock::now();
    if (channel_devices_ == nullptr) {
        MIGRATE_ASSIGN(const std::string state, live_->save_state());
        for (std::size_t sent = 0; sent < state.size(); sent += transport::kMaxFrameBody) {
            MIGRATE_TRY(
                link_->send(FrameType::kGuestState, state.substr(sent, transport::kMaxFrameBody)));
        }
    }
    downtime.state_save = since(saving);

    const Clock::time_point digesting = Clock::now();
    transport::Completion completion;
    MIGRATE_TRY(make_completion(completion));
    downtime.digest = since(digesting);

    MIGRATE_TRY(link_->send(FrameType::kComplete, transport::encode(completion)));
    MIGRATE_ASSIGN(const Frame loaded, link_->expect({FrameType::kLoaded}, std::nullopt));
    MIGRATE_ASSIGN(const transport::LoadTime load, transport::decode_load_time(loaded.body));
    MIGRATE_ASSIGN(const transport::Done done, hand_over(completion));
    downtime.total = since(began);
    downtime.load = Microseconds(load.microseconds);
    downtime.resume = Microseconds(done.resume_us);
    downtime.devices += Microseconds(done.devices_us);
    downtime.wire =
        std::max(Microseconds(0), downtime.total - downtime.stop - downtime.last_round -
                                      downtime.devices - downtime.state_save - downtime.digest -
                                      downtime.load - downtime.resume);
    figures.elapsed = core_.active_time();
    const std::scoped_lock lock(mutex_);
    downtime_ = downtime;
    dirty_pages_ = 0;
    rounds_.push_back({figures,
                       {.action = Action::kSwitchOver,
                        .cpu_throttle = cpu_throttle_,
                        .downtime_limit = rounds_.back().decision.downtime_limit,
                        .expected_downtime = expected,
                        .bandwidth = figures.bytes_per_second(),
                        .reason = {}}});
    return {};
}

Status SendSession::await_continue() {
    {
        // First: whoever hears of the state may answer at once.
        const std::scoped_lock lock(mutex_);
        awaits_continue_ = true;
    }
    core_.set_status(MigrationStatus::kPreSwitchover);
    std::unique_lock lock(mutex_);
    const bool came = continued_.wait(lock, core_.token(), [this] { return may_switch_over_; });
    awaits_continue_ = false;
    lock.unlock();
    return came ? live_->check_still() : Status(cancelled());
}

// The line that is crossed once: from the frame on, the guest is the receiver's.
Result<transport::Done> SendSession::hand_over(const transport::Completion& completion) {
    // The last moment at which a guest that somebody else let run can be kept here.
    MIGRATE_TRY(live_->check_still());
    {
        const std::scoped_lock lock(mutex_);
        if (core_.stopped()) return cancelled();
        live_->hand_over();
        owner_ = GuestOwner::kUnknown;
    }
    link_->stop_sending_heartbeats();
    MIGRATE_TRY(link_->send(FrameType::kHandover, "{}"));
    return await_done(completion);
}

// Called with mutex_ held.
void SendSession::add_guest(Report& report) const {
    report.rounds = rounds_;
    report.dirty_pages = dirty_pages_;
    report.downtime = downtime_;
    if (!rounds_.empty()) report.expected_downtime = rounds_.back().decision.expected_downtime;
    const guest::Activity now = live_->activity();
    const bool tracked = before_.run_time.count() != 0;
    const bool paused = paused_.run_time.count() != 0;
    GuestReport guest{.kind = guest_kind_,
                      .state = guest_state_,
                      .dirty_tracker = std::string(live_->tracker().name()),
                      .stood_still = live_->tracker().stood_still(),
                      .cpu_throttle = cpu_throttle_};
    guest.rate_before = bytes_per_second({}, tracked ? before_ : now);
    if (tracked) guest.rate_during = bytes_per_second(before_, paused ? paused_ : now);
    guest.longest_gap = now.longest_gap;
    report.guest = std::move(guest);
}

}  // namespace migrate::engine
