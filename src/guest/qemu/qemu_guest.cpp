#include "guest/qemu/qemu_guest.hpp"

#include <utility>

#include "base/log.hpp"
#include "base/outcome.hpp"
#include "guest/clock.hpp"
#include "guest/qemu/qemu_devices.hpp"
#include "guest/qemu/undo_commands.hpp"

namespace migrate::guest {
namespace {

constexpr std::string_view kStateMagic = "MQMU";
constexpr char kStateVersion = 1;
constexpr std::size_t kStateHeader = 6;  // magic, version, whether it ran

constexpr std::string_view kCancel = R"({"execute":"migrate_cancel"})";

// QEMU leaves that state by running only.
constexpr std::string_view kHowToRetry =
    "if it runs nowhere else, QMP's `cont`, and `stop` if it is to stay paused, make it ready for "
    "another migration";

Status check_state(Monitor& monitor, std::string& state) {
    MIGRATE_ASSIGN(state, monitor.run_state());
    if (state == "postmigrate") {
        return make_error("its guest was migrated before, and QEMU would refuse it later; {}",
                          kHowToRetry);
    }
    if (state != "running" && state != "paused") {
        return make_error("its guest is in the state '{}'; it must be running or paused", state);
    }
    MIGRATE_ASSIGN(const std::string migration, monitor.migration_state());
    if (migration != "none" && migration != "completed" && migration != "failed" &&
        migration != "cancelled") {
        return make_error("it is being migrated already (its migration is '{}')", migration);
    }
    MIGRATE_ASSIGN(const std::string blocked, monitor.blocked_by());
    if (blocked.empty()) return {};
    return make_error("QEMU says that its guest cannot be migrated: {}", blocked);
}

Result<Machine> open_machine_at(std::string_view uri, const QemuAddress& address) {
    MIGRATE_ASSIGN(auto monitor, Monitor::connect(std::string(address.socket)));
    std::string state;
    MIGRATE_TRY(check_state(*monitor, state));
    MIGRATE_ASSIGN(QemuMemory found, find_qemu_memory(*monitor, address.pid, FileAccess::kRead));
    const pid_t pid = found.owner.pid;
    MIGRATE_ASSIGN(const std::size_t cpus, monitor->cpu_count());
    log::info("QEMU {}, {}: {} with {} vCPUs", monitor->version(), found.owner.description, state,
              cpus);
    MIGRATE_ASSIGN(auto guardian, Guardian::start(pid, monitor->address()));
    auto throttle = Throttle::create(*guardian, pid, cpus);
    MIGRATE_ASSIGN(auto memory, memory::open_shared_source(uri, std::move(found.regions),
                                                           std::move(found.owner)));
    return Machine{
        std::move(memory),
        std::make_unique<QemuGuest>(std::move(monitor), std::move(guardian), std::move(throttle),
                                    std::move(found.opened), state == "running"),
        {}};
}

}  // namespace

Result<Machine> open_qemu_machine(std::string_view uri, std::string_view words) {
    MIGRATE_ASSIGN(const QemuAddress address, parse_qemu_address(uri, words, FileAccess::kRead));
    auto machine = open_machine_at(uri, address);
    if (!machine) return as_refusal(std::move(machine).error().with_context(uri));
    return machine;
}

QemuGuest::QemuGuest(std::unique_ptr<Monitor> monitor, std::unique_ptr<Guardian> guardian,
                     std::unique_ptr<Throttle> throttle, OpenedMemory memory, bool running)
    : monitor_(std::move(monitor)),
      guardian_(std::move(guardian)),
      throttle_(std::move(throttle)),
      memory_(std::move(memory)),
      running_(running),
      ran_(running) {}

QemuGuest::~QemuGuest() {
    const Status resumed = !given_away_ && ran_ ? resume() : Status();
    throttle_.reset();
    monitor_->put_back_or_warn();
    if (!resumed) {
        log::error("the guest is paused, and a process stays behind to have it run again: {}",
                   resumed.error().message());
        guardian_->act();
    }
    if (!given_away_ && !ran_ && was_saved_) {
        log::warning("the guest stays paused, in QEMU's state 'postmigrate'; {}", kHowToRetry);
    }
}

// What is done should this process die now.
Status QemuGuest::entrust(bool resume) {
    Undo undo = throttle_->undo();
    if (!monitor_->undo().empty() || resume) undo.commands.emplace_back(kCancel);
    // The guest first: nobody waits for the settings.
    if (resume) undo.commands.emplace_back(kContinue);
    for (auto it = monitor_->undo().rbegin(); it != monitor_->undo().rend(); ++it) {
        undo.commands.push_back(*it);
    }
    return guardian_->entrust(undo);
}

Status QemuGuest::pause() {
    if (!running_) return {};
    MIGRATE_TRY(throttle_->hold());
    // Before it is asked: an answer that gets lost may have been a pause.
    running_ = false;
    MIGRATE_TRY(entrust(ran_));
    MIGRATE_TRY(monitor_->ask("stop"));
    paused_at_ = Clock::now().time_since_epoch().count();
    MIGRATE_ASSIGN(const std::string state, monitor_->run_state());
    if (state == "paused") return {};
    // It ended, crashed or is being reset: there is no state to move.
    return make_error("QEMU's guest is '{}' after it was stopped", state);
}

Status QemuGuest::resume() {
    if (running_) return {};
    Status woken = wake_up();
    if (!woken) {
        // The connection may be what is wrong.
        if (!guardian_->alive()) return make_error("QEMU is gone: {}", woken.error().message());
        MIGRATE_TRY(monitor_->reconnect());
        MIGRATE_TRY(wake_up());
    }
    running_ = true;
    was_saved_ = false;
    paused_at_ = 0;
    MIGRATE_TRY(entrust(false));
    return throttle_->release();
}

Status QemuGuest::wake_up() {
    // A migration of the devices that is under way would hold it; QEMU is told first, and the guest
    // runs as soon as that is over.
    MIGRATE_TRY(monitor_->end_migration());
    MIGRATE_TRY(monitor_->insist(std::string(kContinue)));
    monitor_->put_back_or_warn();
    return {};
}

Status QemuGuest::throttle(unsigned percent) {
    if (running_) MIGRATE_TRY(entrust(false));
    return throttle_->set(percent);
}

Result<std::string> QemuGuest::save_state() {
    MIGRATE_TRY(monitor_->plan_settings());
    MIGRATE_TRY(entrust(ran_));
    MIGRATE_TRY(monitor_->change_settings());
    was_saved_ = true;
    MIGRATE_ASSIGN(const std::string stream, monitor_->save_state(kMaxStateBytes - kStateHeader));
    return encode_qemu_state(ran_, stream);
}

Activity QemuGuest::activity() const {
    const Clock::rep paused = paused_at_;
    const auto now = paused == 0 ? Clock::now() : Clock::time_point(Clock::duration(paused));
    return {.run_time = std::chrono::duration_cast<std::chrono::microseconds>(now - began_)};
}

Result<std::optional<std::string>> QemuGuest::outside_writer() {
    MIGRATE_ASSIGN(std::string writer, guest::outside_writer(*monitor_));
    return std::optional(std::move(writer));
}

void QemuGuest::give_away() {
    given_away_ = true;
    const Status told = entrust(false);
    if (!told) log::error("{}", told.error().message());
}

void QemuGuest::take_back() {
    given_away_ = false;
    const Status told = entrust(ran_);
    if (!told) log::error("{}", told.error().message());
}

Status QemuGuest::quit() {
    given_away_ = true;
    MIGRATE_TRY(monitor_->ask("quit"));
    return {};
}

std::string encode_qemu_state(bool ran, const std::string& stream) {
    std::string state;
    state.reserve(kStateHeader + stream.size());
    state += kStateMagic;
    state += kStateVersion;
    state += static_cast<char>(ran ? 1 : 0);
    state += stream;
    return state;
}

Result<QemuState> decode_qemu_state(std::string_view state) {
    if (state.size() <= kStateHeader || !state.starts_with(kStateMagic) ||
        state[4] != kStateVersion || (state[5] != 0 && state[5] != 1)) {
        return make_error(ErrorKind::kProtocol, "this is no state of a QEMU: {} bytes",
                          state.size());
    }
    return QemuState{state[5] == 1, state.substr(kStateHeader)};
}

}  // namespace migrate::guest
