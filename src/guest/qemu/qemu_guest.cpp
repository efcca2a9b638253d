// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/qemu_guest.hpp"

#include <sys/epoll.h>

#include <utility>

#include "base/log.hpp"
#include "guest/clock.hpp"
#include "guest/qemu/machine_comparison.hpp"
#include "guest/qemu/machine_parts.hpp"
#include "guest/qemu/qemu_devices.hpp"
#include "guest/qemu/qemu_memory.hpp"
#include "guest/qemu/questions.hpp"

namespace migrate::guest {
namespace {

constexpr std::string_view kStateMagic = "MQMU";
constexpr char kStateVersion = 2;
constexpr std::size_t kStateHeader = 6;  // magic, version, flags
constexpr unsigned kRanFlag = 1;
constexpr unsigned kBlocksFlag = 2;

// Time that our own migration of the devices may take to end after its socket was closed.
constexpr std::chrono::milliseconds kEndPatience{3'000};
constexpr std::chrono::milliseconds kLookAgain{1};
// Time that a QEMU that closed its connection may take to end: it may write a core file.
constexpr std::chrono::milliseconds kDeathPatience{2'000};

// Explains why a guest's state does not allow the last round.
Error unfit(const std::string& state) {
    if (state == "postmigrate" || state == "finish-migrate" || state == "colo") {
        return make_error(ErrorKind::kOwnerUnknown,
                          "another client of QEMU has migrated the guest meanwhile: it is left in "
                          "QEMU's state '{}', and must not run here if it runs elsewhere",
                          state);
    }
    if (state == "suspended") {
        return make_error(
            "the guest is suspended to memory (S3), and QEMU may not wake it up after a migration: "
            "wake it (system_wakeup) and try again");
    }
    return make_error(
        "the guest is in QEMU's state '{}': it must be running or paused to be moved; it is left "
        "as "
        "it is",
        state);
}

Error migrated_by_another(const std::string& status) {
    return make_error(
        "another client of QEMU migrates the guest (query-migrate says '{}'): one at a time can",
        status);
}

// Returns a descriptor that is readable when one of these is; nothing if it cannot be made: then
// the guest's end is noticed when the guest is asked for something.
UniqueFd make_alarm(int process, int events) {
    UniqueFd alarm(::epoll_create1(EPOLL_CLOEXEC));
    for (const int descriptor : {process, events}) {
        epoll_event event{};
        event.events = EPOLLIN;
        if (alarm && descriptor >= 0) {
            static_cast<void>(::epoll_ctl(alarm.get(), EPOLL_CTL_ADD, descriptor, &event));
        }
    }
    return alarm;
}

}  // namespace

QemuGuest::QemuGuest(std::unique_ptr<Monitor> monitor, std::unique_ptr<Guardian> guardian,
                     std::unique_ptr<Throttle> throttle, OpenedMemory memory, bool running,
                     std::optional<DeviceSaver> saver, KnownMachine machine)
    : monitor_(std::move(monitor)),
      guardian_(std::move(guardian)),
      throttle_(std::move(throttle)),
      memory_(std::move(memory)),
      machine_(std::move(machine)),
      saver_(std::move(saver)),
      running_(running),
      alarm_(make_alarm(guardian_->process(), monitor_->descriptor())) {}

QemuGuest::~QemuGuest() {
    if (!given_away_ && hold_ != Hold::kNobody) {
        const Status resumed = resume();
        if (!resumed) log::error("{}", resumed.error().message());
    }
    throttle_.reset();
    if (!monitor_) return;
    monitor_->obey({});
    monitor_->put_back_or_warn();
}

// Tells the guardian what to do if this process dies now.
Status QemuGuest::entrust() {
    Undo undo = throttle_->undo();
    if (!given_away_) undo.held = held_;
    for (auto it = monitor_->undo().rbegin(); it != monitor_->undo().rend(); ++it) {
        undo.commands.push_back(*it);
    }
    return guardian_->entrust(undo);
}

Result<std::optional<std::string>> QemuGuest::prepare_pause(Saving saving) {
    saving_ = saving;
    if (saver_ && std::exchange(saver_spent_, false)) {
        MIGRATE_ASSIGN(saver_, DeviceSaver::prepare(*monitor_));
    }
    const Monitor::Moment moment(
        *monitor_, joined({memory_questions(*monitor_), machine_questions(), device_questions(),
                           state_questions()}));
    MIGRATE_TRY(check_unchanged());
    MIGRATE_ASSIGN(auto writer, outside_writer());
    MIGRATE_TRY(prepare());
    return writer;
}

// Asks what must be known before `stop`.
Status QemuGuest::prepare() {
    MIGRATE_TRY(monitor_->plan_fence());
    MIGRATE_ASSIGN(const QemuMigration migration, monitor_->migration());
    MIGRATE_TRY(check_can_be_saved(migration));
    // From this answer on a guest that is paused must stay so.
    monitor_->watch().begin();
    MIGRATE_ASSIGN(const std::string state, monitor_->run_state());
    if (migration.in_progress()) return migrated_by_another(migration.status);
    if (state != "running" && state != "paused") return unfit(state);
    held_ = {.before = migration.description};
    prepared_ = state;
    return {};
}

Status QemuGuest::pause() {
    if (hold_ != Hold::kNobody) return {};
    MIGRATE_TRY(throttle_->hold());
    if (prepared_.empty()) MIGRATE_TRY(prepare());
    return std::exchange(prepared_, {}) == "running" ? stop() : keep_paused();
}

// Another client has paused the guest.
Status QemuGuest::keep_paused() {
    log::info("the guest was paused by another client of QEMU: it arrives paused");
    hold_ = Hold::kAnother;
    running_ = false;
    return check_state();
}

// Saving the devices alone checks nothing of this. Called while the guest runs.
Status QemuGuest::check_can_be_saved(const QemuMigration& migration) {
    if (!saver_) return {};
    if (!migration.blocked.empty()) return cannot_be_migrated(migration.blocked);
    return check_devices_are_whole(*monitor_);
}

Status QemuGuest::stop() {
    // Record the stop before sending it: if the answer is lost, QEMU may still have paused the
    // guest.
    hold_ = Hold::kWe;
    running_ = false;
    held_.stopped = true;
    MIGRATE_TRY(entrust());
    monitor_->watch().begin_at_stop();
    MIGRATE_ASSIGN(const Monitor::Sent stopping, monitor_->send_ahead("stop"));
    MIGRATE_ASSIGN(const Monitor::Sent asking, monitor_->send_ahead("query-status"));
    MIGRATE_TRY(save_at_once());
    if (auto stopped = monitor_->await(stopping); !stopped) {
        return std::move(stopped).error().with_context("cannot pause the guest");
    }
    paused_at_ = Clock::now().time_since_epoch().count();
    MIGRATE_ASSIGN(const qmp::Json answer, monitor_->await(asking));
    MIGRATE_ASSIGN(const std::string state, parse_run_state(answer));
    if (monitor_->watch().has_stopped()) return check_state(state);
    // The guest did not run any more when our `stop` came.
    monitor_->watch().begin();
    held_.stopped = false;
    hold_ = Hold::kAnother;
    MIGRATE_TRY(entrust());
    return state == "paused" ? keep_paused() : Status(unfit(state));
}

// QEMU before 10.0 might not survive to save a guest whose disks another client has just handed
// over: its state must be known first.
Status QemuGuest::save_at_once() {
    if (saving_ != Saving::kAtOnce || !saver_ || !monitor_->is_at_least(10, 0)) return {};
    saved_alone_ = true;
    return saver_->begin(*monitor_);
}

Status QemuGuest::check_still() {
    if (hold_ == Hold::kNobody) return {};
    const Monitor::Moment moment(*monitor_, state_questions());
    MIGRATE_TRY(check_state());
    return check_migration();
}

// QEMU sends the answer after the events of everything that happened before it.
Status QemuGuest::check_state() {
    MIGRATE_ASSIGN(std::string state, monitor_->run_state());
    return check_state(std::move(state));
}

Status QemuGuest::check_state(std::string state) {
    if (!disturbance().empty()) return Error(disturbance());
    const std::string_view expected = held_.saving ? "postmigrate" : "paused";
    const auto until = Clock::now() + kEndPatience;
    // QEMU reports that its migration is complete before that is so.
    while (held_.saving && state == "finish-migrate" && Clock::now() < until) {
        MIGRATE_TRY(monitor_->await_input(kLookAgain));
        monitor_->look_again();
        MIGRATE_ASSIGN(state, monitor_->run_state());
    }
    if (state == expected) return {};
    return unfit(state).with_context("the guest did not stay paused");
}

Status QemuGuest::check_migration() {
    MIGRATE_ASSIGN(const QemuMigration migration, monitor_->migration());
    if (migration.in_progress()) return migrated_by_another(migration.status);
    if (held_.saving && held_.saved.empty()) {
        held_.saved = migration.description;
        return entrust();
    }
    if (migration.description == (held_.saving ? held_.saved : held_.before)) return {};
    return make_error("another client of QEMU migrated the guest while it was paused");
}

std::string QemuGuest::disturbance() const {
    if (!disturbance_.empty()) return disturbance_;
    if (!monitor_) return {};
    if (hold_ == Hold::kNobody) {
        const std::string& upset = monitor_->watch().upset();
        if (upset.empty()) return {};
        return fmt::format(
            "the guest changed while it was moved: {}; it stays at the source as it "
            "is, and can be moved again while it runs",
            upset);
    }
    if (monitor_->watch().sign().empty()) return {};
    return fmt::format(
        "the guest did not stay paused during the switchover: {}; so the copy is not consistent, "
        "and the guest stays at the source",
        monitor_->watch().sign());
}

// Devices are compared while the guest still runs: that takes several queries.
Status QemuGuest::check_unchanged() {
    const Monitor::Moment moment(*monitor_, memory_questions(*monitor_));
    MIGRATE_TRY(check_same_memory(*monitor_, memory_));
    if (hold_ != Hold::kNobody || machine_.parts.empty()) return {};
    const auto& blocks = memory_.blocks;
    MIGRATE_ASSIGN(const auto now,
                   query_machine(*monitor_, blocks ? &*blocks : nullptr, &machine_.parts));
    return check_same_machine(machine_.parts, now, machine_.differences);
}

Status QemuGuest::check_alive() {
    if (!monitor_) return {};
    const Status read = monitor_->read_events();
    RunWatch& watch = monitor_->watch();
    // QEMU closes its connections just before it ends.
    const bool ended = read ? !guardian_->alive() : guardian_->ends_within(kDeathPatience);
    if (ended) {
        return make_error("the QEMU of the guest has ended{}{}", watch.upset().empty() ? "" : ": ",
                          watch.upset());
    }
    MIGRATE_TRY(read);
    if (hold_ != Hold::kNobody) return {};
    if (!watch.upset().empty()) {
        const auto state = monitor_->run_state();
        return make_error("{} (QEMU's state is '{}')", disturbance(), state ? *state : "unknown");
    }
    return watch.take_unplugged() ? check_unchanged() : Status();
}

Status QemuGuest::resume() {
    if (!monitor_ || given_away_) return {};
    monitor_->obey({});
    // One timeout is enough: the guardian resumes the guest as soon as QEMU answers.
    if (monitor_->hangs()) {
        return hold_ == Hold::kNobody
                   ? Status()
                   : leave_to_guardian(Error(ErrorKind::kTimeout, "QEMU does not answer"));
    }
    // Record the disturbance now: the RESUME of our own `cont` is not one.
    static_cast<void>(monitor_->read_events());
    if (hold_ == Hold::kNobody) return check_is_here();
    disturbance_ = disturbance();
    Result<GiveBackResult> given = monitor_->give_back(held_, kEndPatience);
    if (!given) {
        if (!guardian_->alive()) return make_error("QEMU is gone: {}", given.error().message());
        // The guardian waits for as long as QEMU does not answer.
        if (given.error().kind() == ErrorKind::kTimeout) return leave_to_guardian(given.error());
        // The failure may be that of the connection, so try a new one.
        const Status connected = monitor_->reconnect();
        given = connected ? monitor_->give_back(held_, kEndPatience)
                          : Result<GiveBackResult>(connected.error());
    }
    if (!given) return leave_to_guardian(given.error());
    if (given->guest == GivenBack::kMoving) {
        return leave_to_guardian(migrated_by_another("active").as(ErrorKind::kOwnerUnknown));
    }
    return settle(*given);
}

// Another client may have handed over a guest that we never stopped.
Status QemuGuest::check_is_here() {
    const auto state = monitor_->run_state();
    if (!state || *state != "postmigrate") return {};
    const auto migration = monitor_->migration();
    return migration && migration->status == "completed" ? Status(unfit(*state)) : Status();
}

Status QemuGuest::settle(const GiveBackResult& given) {
    const bool late = hold_ == Hold::kAnother && held_.saving && given.state == "postmigrate";
    const bool left = hold_ == Hold::kWe && given.guest == GivenBack::kLeft;
    if (left) {
        log::warning(
            "the guest is left as it is, in QEMU's state '{}', which another client of QEMU "
            "gave it",
            given.state);
    }
    if (late) {
        log::warning("the guest stays paused, in QEMU's state 'postmigrate'; {}", kHowToRetry);
    }
    // The disks of a guest that was handed over belong to the other side.
    const bool stays = given.guest == GivenBack::kLeft && given.state == "paused";
    if (std::exchange(saved_alone_, false) && stays) activate_disks();
    hold_ = Hold::kNobody;
    held_ = {};
    running_ = given.guest == GivenBack::kRuns;
    if (running_) paused_at_ = 0;
    monitor_->put_back_or_warn();
    saver_spent_ = true;
    MIGRATE_TRY(entrust());
    MIGRATE_TRY(throttle_->release());
    if (given.guest == GivenBack::kElsewhere && !late) return unfit(given.state);
    return {};
}

// `cont` does this for a guest that runs again. For a guest that stays paused QEMU 10 has a
// command. An earlier QEMU might not survive to save inactive disks again, so the sign is left
// there.
void QemuGuest::activate_disks() {
    const auto done = monitor_->ask("blockdev-set-active", {{"active", true}});
    if (done) return;
    const Status left = leave_sign(*monitor_);
    if (!left) log::warning("{}", left.error().message());
    log::warning(
        "the guest stays paused, and its disks stay inactive until QMP's `cont` ({}): before "
        "another migration it needs `cont`, and `stop` if it is to stay paused, and `remove-fd`",
        done.error().message());
}

Status QemuGuest::leave_to_guardian(const Error& why) {
    static_cast<void>(entrust());
    // Disconnect first: QEMU serves one client at a time.
    monitor_.reset();
    guardian_->act();
    if (!held_.stopped) return Error(why);
    return make_error(why.kind(),
                      "{}; the guest is paused, and a process stays behind to let it run again as "
                      "soon as that can be done safely",
                      why.message());
}

Status QemuGuest::throttle(unsigned percent) {
    if (hold_ == Hold::kNobody && monitor_) MIGRATE_TRY(entrust());
    return throttle_->set(percent);
}

Result<std::string> QemuGuest::save_state() { return saver_ ? save_alone() : save_by_migration(); }

Result<std::string> QemuGuest::save_alone() {
    // See save_at_once().
    if (!monitor_->is_at_least(10, 0)) {
        MIGRATE_ASSIGN(const std::string now, monitor_->run_state());
        if (now != "paused") return make_error("the guest is '{}', and not paused", now);
    }
    saved_alone_ = true;
    MIGRATE_ASSIGN(const std::string stream,
                   saver_->save(*monitor_, kMaxStateBytes - kStateHeader));
    return encode_qemu_state({MoveMethod::kRamBlocks, held_.stopped, stream});
}

Result<std::string> QemuGuest::save_by_migration() {
    MIGRATE_TRY(monitor_->plan_settings());
    // Entrust first: whatever happens in save_state(), the guardian must expect it.
    Held done = held_;
    held_.settings = held_.saving = true;
    MIGRATE_TRY(entrust());
    held_ = done;
    MIGRATE_ASSIGN(const std::string stream,
                   monitor_->save_state(kMaxStateBytes - kStateHeader, held_));
    MIGRATE_TRY(entrust());
    return encode_qemu_state({MoveMethod::kSharedFiles, held_.stopped, stream});
}

Activity QemuGuest::activity() const {
    const Clock::rep paused = paused_at_;
    const auto now = paused == 0 ? Clock::now() : Clock::time_point(Clock::duration(paused));
    return {.run_time = std::chrono::duration_cast<std::chrono::microseconds>(now - began_)};
}

Result<std::optional<std::string>> QemuGuest::outside_writer() {
    const Monitor::Moment moment(*monitor_, device_questions());
    MIGRATE_ASSIGN(std::string writer, guest::outside_writer(*monitor_));
    return std::optional(std::move(writer));
}

Status QemuGuest::prepare_give_away() {
    if (!saver_) return {};
    MIGRATE_TRY(saver_->prepare_sign(*monitor_));
    return entrust();
}

void QemuGuest::give_away() {
    given_away_ = true;
    monitor_->obey({});
    if (saver_) saver_->give_away(*monitor_);
    const Status told = entrust();
    if (!told) log::error("{}", told.error().message());
}

void QemuGuest::take_back() {
    given_away_ = false;
    if (saver_) saver_->take_back(*monitor_);
    const Status told = entrust();
    if (!told) log::error("{}", told.error().message());
}

Status QemuGuest::quit() {
    given_away_ = true;
    MIGRATE_TRY(monitor_->ask("quit"));
    // There is nothing left to undo.
    monitor_.reset();
    return guardian_->entrust({});
}

std::string encode_qemu_state(const QemuState& state) {
    std::string encoded;
    encoded.reserve(kStateHeader + state.stream.size());
    encoded += kStateMagic;
    encoded += kStateVersion;
    const unsigned flags =
        (state.ran ? kRanFlag : 0) | (state.method == MoveMethod::kRamBlocks ? kBlocksFlag : 0);
    encoded += static_cast<char>(flags);
    encoded += state.stream;
    return encoded;
}

Result<QemuState> decode_qemu_state(std::string_view state) {
    const auto flags = state.size() > 5 ? static_cast<unsigned char>(state[5]) : 0xFFU;
    if (state.size() <= kStateHeader || !state.starts_with(kStateMagic) ||
        state[4] != kStateVersion || (flags & ~(kRanFlag | kBlocksFlag)) != 0) {
        return make_error(ErrorKind::kProtocol,
                          "the saved state of {} bytes does not belong to a QEMU", state.size());
    }
    return QemuState{method_of((flags & kBlocksFlag) != 0), (flags & kRanFlag) != 0,
                     state.substr(kStateHeader)};
}

}  // namespace migrate::guest
