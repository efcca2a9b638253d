#include "guest/qemu/qemu_incoming.hpp"

#include <atomic>
#include <memory>
#include <utility>

#include "base/log.hpp"
#include "base/outcome.hpp"
#include "guest/external/guardian.hpp"
#include "guest/qemu/claimed_monitor.hpp"
#include "guest/qemu/monitor.hpp"
#include "guest/qemu/qemu_guest.hpp"
#include "guest/qemu/qemu_memory.hpp"
#include "memory/sink/shared_sink.hpp"

namespace migrate::guest {
namespace {

constexpr std::string_view kQuit = R"({"execute":"quit"})";
// Time that a QEMU that closed its connection may take to end: it may write a core file.
constexpr std::chrono::milliseconds kEndPatience{2'000};

// The connection to the QEMU and its guardian, shared by the loader and the guest.
struct Incoming {
    Incoming() = default;
    Incoming(Incoming&&) = default;
    Incoming& operator=(Incoming&&) = delete;
    // If no guest arrived, QEMU continues to wait with its former settings.
    ~Incoming() {
        if (!monitor) return;
        monitor->obey({});
        static_cast<void>(monitor->put_back());
    }

    std::unique_ptr<Monitor> monitor;
    std::unique_ptr<Guardian> guardian;
    OpenedMemory memory;
};

// Invariant: a guest that did not start here never will: its QEMU is ended, unless it is not known
// whether the guest runs.
class ArrivedGuest final : public Guest {
  public:
    ArrivedGuest(std::shared_ptr<Incoming> incoming, bool ran)
        : incoming_(std::move(incoming)), ran_(ran) {}
    ~ArrivedGuest() override {
        if (settled_) return;
        incoming_->monitor->obey({});
        log::warning("the guest did not come to run here; its QEMU is ended");
        const auto quit = incoming_->monitor->ask("quit");
        if (quit) return;
        log::warning("it may have ended already: {}", quit.error().message());
        incoming_->guardian->act();
    }

    std::string_view kind() const override { return kQemuKind; }
    bool lives_here() const override { return false; }
    bool running() const override { return running_; }

    Status pause() override {
        MIGRATE_TRY(incoming_->monitor->ask("stop"));
        running_ = false;
        return {};
    }

    // From the first call on the guest belongs to this host, unless this returns an Error.
    Status resume() override {
        Guardian& guardian = *incoming_->guardian;
        MIGRATE_TRY(guardian.entrust({.held = {.stopped = ran_}}));
        Status started = ran_ ? run() : stay();
        settled_ = started || started.error().kind() == ErrorKind::kOwnerUnknown;
        running_ = started && ran_;
        // After any other Error the sender resumes the guest, so it must not run here.
        const Status told =
            guardian.entrust(settled_ ? Undo{} : Undo{.commands = {std::string(kQuit)}});
        if (!told) log::warning("{}", told.error().message());
        return started;
    }

    Status check_still() override {
        MIGRATE_ASSIGN(const std::string state, incoming_->monitor->run_state());
        const std::string& sign = incoming_->monitor->watch().sign();
        if (!sign.empty()) {
            return make_error("the guest changed at the destination before it was resumed: {}", sign);
        }
        if (state == "paused") return {};
        return make_error("QEMU's guest is '{}' after it was loaded, and not paused", state);
    }

    Status throttle(unsigned percent) override {
        return percent == 0 ? Status() : Status(Error("a guest that arrived is not throttled"));
    }
    Result<std::string> save_state() override {
        return Error("a guest that arrived is QEMU's, and not saved from here");
    }
    Activity activity() const override { return {}; }
    Status check() override { return {}; }

  private:
    // The guest was paused at its source.
    Status stay() {
        const auto state = incoming_->monitor->run_state();
        if (state) return {};
        return outcome_without_answer(state.error());
    }

    Status run() {
        Monitor& monitor = *incoming_->monitor;
        // Any change that another client made so far came before this host owned the guest.
        Status fit = check_still();
        if (!fit && monitor.watch().ran()) return settle_for_running(fit.error());
        if (!fit) return fit;
        auto started = monitor.ask("cont");
        if (started) return {};
        // QEMU itself refused.
        if (started.error().kind() == ErrorKind::kPeer) return started.error();
        return ask_again(std::move(started).error());
    }

    // The failure may be that of the connection, and a second `cont` does no harm.
    Status ask_again(Error lost) {
        Monitor& monitor = *incoming_->monitor;
        const bool ran = monitor.watch().ran();
        if (incoming_->guardian->ends_within(kEndPatience)) return ended(ran, lost);
        if (!monitor.reconnect()) return outcome_without_answer(lost);
        const auto state = monitor.run_state();
        if (!state) return outcome_without_answer(state.error());
        if (*state == "running") return {};
        // A guest reaches every state except these two only by running.
        if (*state != "paused" && *state != "inmigrate") return settle_for_running(lost);
        const auto again = monitor.ask("cont");
        if (again) return {};
        if (again.error().kind() == ErrorKind::kPeer) return again.error();
        return outcome_without_answer(again.error());
    }

    // Another client of QEMU let the guest run, and it already belongs to the destination.
    Status settle_for_running(const Error& why) {
        const auto state = incoming_->monitor->run_state();
        if (!state) return outcome_without_answer(state.error());
        log::warning("{}; it is in QEMU's state '{}'", why.message(), *state);
        return {};
    }

    // If QEMU has ended, the guest does not run; otherwise it may run.
    Status outcome_without_answer(const Error& lost) {
        if (incoming_->guardian->ends_within(kEndPatience)) {
            return ended(incoming_->monitor->watch().ran(), lost);
        }
        return make_error(ErrorKind::kOwnerUnknown,
                          "QEMU does not say whether the guest runs here ({}): look at it, and let "
                          "the guest run on one side only",
                          lost.message());
    }

    static Status ended(bool ran, const Error& lost) {
        if (!ran) return make_error("QEMU ended before the guest ran in it: {}", lost.message());
        return make_error(ErrorKind::kOwnerUnknown,
                          "QEMU ended as soon as the guest ran in it: {}; it runs nowhere now, and "
                          "what it wrote to its disks meanwhile is not known at its source",
                          lost.message());
    }

    std::shared_ptr<Incoming> incoming_;
    bool ran_;              // the guest ran at the sender
    bool settled_ = false;  // the guest runs here, or may run
    std::atomic<bool> running_{false};
};

class QemuLoader final : public GuestLoader {
  public:
    explicit QemuLoader(Incoming incoming)
        : incoming_(std::make_shared<Incoming>(std::move(incoming))) {}

    std::string_view kind() const override { return kQemuKind; }

    Result<std::unique_ptr<Guest>> load(std::string_view state,
                                        const std::stop_token& stop) override {
        MIGRATE_ASSIGN(const QemuState saved, decode_qemu_state(state));
        Monitor& monitor = *incoming_->monitor;
        monitor.obey(stop);
        // Check before QEMU gets the guest: the pages that arrived are in the memory that was
        // opened.
        MIGRATE_TRY(check_same_memory(monitor, incoming_->memory));
        // A QEMU that is left behind with a loaded guest would be a second copy.
        MIGRATE_TRY(incoming_->guardian->entrust({.commands = {std::string(kQuit)}}));
        auto guest = std::make_unique<ArrivedGuest>(incoming_, saved.ran);
        Status loaded = monitor.load_state(saved.stream);
        if (!loaded) {
            return std::move(loaded).error().with_context(
                "QEMU did not load the guest's devices (its own messages say why; are both started "
                "with the same machine and devices?)");
        }
        // The guest must stand still from here on; it is loaded paused because check_waits() sent
        // `stop`.
        monitor.watch().begin();
        MIGRATE_TRY(guest->check_still());
        MIGRATE_TRY(check_same_memory(monitor, incoming_->memory));
        // No stop ends the next steps: they decide which side has the guest.
        monitor.obey({});
        monitor.put_back_or_warn();
        return std::unique_ptr<Guest>(std::move(guest));
    }

  private:
    std::shared_ptr<Incoming> incoming_;
};

Status check_waits(Monitor& monitor) {
    MIGRATE_ASSIGN(const std::string state, monitor.run_state());
    if (state != "inmigrate") {
        return make_error("it does not wait for a guest: it is '{}'; start it with -incoming defer",
                          state);
    }
    MIGRATE_ASSIGN(const QemuMigration migration, monitor.migration());
    if (migration.status != "none") {
        return make_error(
            "it waits for a guest of its own way (its migration is '{}'); start it with -incoming "
            "defer",
            migration.status);
    }
    // Without -S QEMU would run the guest as soon as it is loaded; `stop` prevents that.
    MIGRATE_TRY(monitor.ask("stop"));
    return {};
}

Result<Destination> open_destination_at(std::string_view uri, const QemuAddress& address) {
    MIGRATE_ASSIGN(ClaimedMonitor claimed, claim_monitor(address));
    Incoming incoming;
    incoming.monitor = std::move(claimed.monitor);
    Monitor& monitor = *incoming.monitor;
    MIGRATE_TRY(check_waits(monitor));
    MIGRATE_ASSIGN(QemuMemory memory, find_qemu_memory(monitor, address.pid, FileAccess::kWrite));
    MIGRATE_ASSIGN(incoming.guardian, Guardian::start(std::move(claimed.claim), monitor.address()));
    MIGRATE_TRY(monitor.plan_settings());
    MIGRATE_TRY(incoming.guardian->entrust({.commands = monitor.undo()}));
    bool changed = true;
    MIGRATE_TRY(monitor.change_settings(changed));
    incoming.memory = std::move(memory.opened);
    log::info("QEMU {}, {}, waits for a guest", monitor.version(), memory.owner.description);
    return Destination{
        memory::make_shared_sink(uri, std::move(memory.regions), memory.owner.pid, address.unseen),
        std::make_unique<QemuLoader>(std::move(incoming))};
}

}  // namespace

Result<Destination> open_qemu_destination(std::string_view uri, const ParsedForm& parsed) {
    const QemuAddress address = qemu_sink_address(parsed);
    auto destination = open_destination_at(uri, address);
    if (!destination) return as_refusal(std::move(destination).error().with_context(uri));
    return destination;
}

}  // namespace migrate::guest
