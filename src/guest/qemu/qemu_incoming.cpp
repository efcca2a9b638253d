// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/qemu_incoming.hpp"

#include <atomic>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log.hpp"
#include "base/outcome.hpp"
#include "guest/external/guardian.hpp"
#include "guest/qemu/block_memory.hpp"
#include "guest/qemu/claimed_monitor.hpp"
#include "guest/qemu/device_stream.hpp"
#include "guest/qemu/machine_comparison.hpp"
#include "guest/qemu/machine_parts.hpp"
#include "guest/qemu/monitor.hpp"
#include "guest/qemu/qemu_guest.hpp"
#include "guest/qemu/qemu_memory.hpp"
#include "guest/qemu/questions.hpp"
#include "memory/sink/block_sink.hpp"
#include "memory/sink/shared_sink.hpp"

namespace migrate::guest {
namespace {

constexpr std::string_view kQuit = R"({"execute":"quit"})";
// Time that a QEMU that closed its connection may take to end: it may write a core file.
constexpr std::chrono::milliseconds kEndPatience{2'000};

// The connection to the QEMU and its guardian, shared by the loader and the guest.
struct Incoming {
    Incoming() = default;
    Incoming(const Incoming&) = delete;
    Incoming& operator=(const Incoming&) = delete;
    // If no guest arrived, QEMU continues to wait with its former settings.
    ~Incoming() {
        if (!monitor || lost) return;
        monitor->obey({});
        static_cast<void>(monitor->put_back());
    }

    // Makes QEMU ready for a guest that is moved in this way, before its memory changes.
    Status expect(MoveMethod chosen);

    std::unique_ptr<Monitor> monitor;
    std::unique_ptr<Guardian> guardian;
    OpenedMemory memory;
    MachineDifferences differences = MachineDifferences::kRefuse;
    std::optional<MoveMethod> method;    // set once a sender was accepted
    std::optional<DeviceLoader> loader;  // with kRamBlocks
    bool lost = false;                   // QEMU did not answer when the guest should run
};

Status Incoming::expect(MoveMethod chosen) {
    method = chosen;
    const bool blocks = chosen == MoveMethod::kRamBlocks;
    if (blocks) {
        MIGRATE_ASSIGN(loader, DeviceLoader::prepare(*monitor));
    }
    MIGRATE_TRY(monitor->plan_settings(blocks ? Monitor::SharedMemory::kNotConcerned
                                              : Monitor::SharedMemory::kLeftOut));
    MIGRATE_TRY(guardian->entrust({.commands = monitor->undo()}));
    bool changed = true;
    return monitor->change_settings(changed);
}

// Invariant: a guest that did not start here never will: its QEMU is ended, unless it is not known
// whether the guest runs.
class ArrivedGuest final : public Guest {
  public:
    ArrivedGuest(std::shared_ptr<Incoming> incoming, bool ran)
        : incoming_(std::move(incoming)), ran_(ran) {}
    ~ArrivedGuest() override {
        if (settled_ && !incoming_->lost) incoming_->monitor->put_back_or_warn();
        if (settled_) return;
        incoming_->monitor->obey({});
        log::warning("the guest did not come to run here; its QEMU is ended");
        // The sender resumes its guest as soon as it hears of the failure. If another client let
        // this one run, its vCPUs must have stopped by then.
        static_cast<void>(incoming_->monitor->ask("stop"));
        const auto quit = incoming_->monitor->ask("quit");
        if (!quit) {
            log::warning("it may have ended already: {}", quit.error().message());
            incoming_->guardian->act();
        } else if (!incoming_->guardian->ends_within(kEndPatience)) {
            log::warning("its QEMU has not ended yet, {} ms after 'quit'", kEndPatience.count());
        }
    }

    std::string_view kind() const override { return kQemuKind; }
    bool lives_here() const override { return false; }
    bool running() const override { return running_; }

    Status pause() override {
        MIGRATE_TRY(incoming_->monitor->ask("stop"));
        running_ = false;
        return {};
    }

    Status prepare_resume() override {
        Monitor& monitor = *incoming_->monitor;
        const Monitor::Moment moment(monitor,
                                     joined({memory_questions(monitor), {{"query-status"}}}));
        MIGRATE_TRY(check_same_memory(monitor, incoming_->memory, LayoutSince::kLoaded));
        return check_still();
    }

    // From the first call on the guest belongs to this host, unless this returns an Error.
    Status resume() override {
        Guardian& guardian = *incoming_->guardian;
        // QEMU's settings are put back when the guest runs: they change nothing for it.
        const std::vector<std::string>& undo = incoming_->monitor->undo();
        MIGRATE_TRY(guardian.entrust({.held = {.stopped = ran_}, .commands = undo}));
        Status started = ran_ ? run() : stay();
        incoming_->lost = !started && started.error().kind() == ErrorKind::kOwnerUnknown;
        settled_ = started || incoming_->lost;
        running_ = started && ran_;
        // After any other Error the sender resumes the guest, so it must not run here.
        const Status told = guardian.entrust(incoming_->lost ? Undo{}
                                             : settled_      ? Undo{.commands = undo}
                                                        : Undo{.commands = {std::string(kQuit)}});
        if (!told) log::warning("{}", told.error().message());
        return started;
    }

    Status check_still() override {
        MIGRATE_ASSIGN(const std::string state, incoming_->monitor->run_state());
        if (!incoming_->monitor->watch().sign().empty()) return ran_too_early();
        if (state == "paused") return {};
        return make_error("QEMU's guest is '{}' after it was loaded, and not paused", state);
    }

    // QEMU has refused to load this guest: another client has given it one, or it keeps waiting.
    Status leave_to_others() {
        settled_ = true;
        return incoming_->guardian->entrust({.commands = incoming_->monitor->undo()});
    }

    // Checks the time of loading. From here on events are signs that the guest did not stand still.
    Status check_never_ran() {
        RunWatch& watch = incoming_->monitor->watch();
        if (watch.ran()) return ran_too_early();
        watch.begin();
        return {};
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
    Error ran_too_early() const {
        return make_error("the guest changed at the destination before it was resumed: {}",
                          incoming_->monitor->watch().sign());
    }

    // The guest was paused at its source.
    Status stay() {
        Monitor& monitor = *incoming_->monitor;
        const auto state = monitor.run_state();
        if (!state) return outcome_without_answer(state.error());
        // Its disks stay inactive until `cont`. QEMU before 10.0 aborts if it has to save them so.
        if (incoming_->loader && !monitor.is_at_least(10, 0)) {
            const Status left = leave_sign(monitor);
            if (!left) log::warning("{}", left.error().message());
        }
        return {};
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
    // Any way to load a guest into it leaves the guest paused from here on (see begin_incoming()).
    MIGRATE_TRY(monitor.ask("stop"));
    return {};
}

// QEMU before 8.0 does not report that it waits for a guest by itself: only its command line tells.
Status check_deferred(pid_t pid) {
    if (pid == 0) return {};
    std::ifstream arguments(fmt::format("/proc/{}/cmdline", pid));
    std::string word;
    while (std::getline(arguments, word, '\0')) {
        if (word != "-incoming" && word != "--incoming") continue;
        if (!std::getline(arguments, word, '\0') || word == "defer") continue;
        return make_error(
            "it was started with '-incoming {}', and waits for a guest by itself; start it with "
            "-incoming defer",
            word);
    }
    return {};
}

class QemuLoader final : public GuestLoader {
  public:
    explicit QemuLoader(std::shared_ptr<Incoming> incoming) : incoming_(std::move(incoming)) {}

    GuestProcess process() const override {
        return {incoming_->guardian->process(), incoming_->memory.owner.description};
    }

    Status check_ready(const GuestOffer& offer) override {
        if (offer.kind != kQemuKind) {
            return make_error(
                "a waiting QEMU takes a running guest of the kind '{}' only, and this is {}",
                kQemuKind,
                offer.kind.empty() ? "a memory image" : fmt::format("one of '{}'", offer.kind));
        }
        const std::vector<MachinePart>& machine = offer.machine;
        MIGRATE_TRY(check_still_waits());
        if (incoming_->differences == MachineDifferences::kIgnore) return {};
        if (machine.empty()) {
            log::warning(
                "the sender does not describe its machine: it is not compared with this "
                "QEMU's");
            return {};
        }
        const auto& blocks = incoming_->memory.blocks;
        const Monitor::Moment moment(*incoming_->monitor,
                                     joined({{machine_type_question()}, machine_questions()}));
        MIGRATE_ASSIGN(const auto own,
                       query_machine(*incoming_->monitor, blocks ? &*blocks : nullptr));
        return compare_machines(machine, own, incoming_->memory.owner.description,
                                incoming_->differences);
    }

    Status prepare_load(const std::stop_token& stop) override {
        incoming_->monitor->obey(stop);
        incoming_->monitor->watch().begin();
        MIGRATE_TRY(check_still_waits());
        prepared_ = true;
        return {};
    }

    Result<std::unique_ptr<Guest>> load(std::string_view state,
                                        const std::stop_token& stop) override {
        MIGRATE_ASSIGN(const QemuState saved, decode_qemu_state(state));
        if (saved.method != incoming_->method) {
            return Error(ErrorKind::kProtocol,
                         "the sender's devices were not saved in the way in which it sent memory");
        }
        Monitor& monitor = *incoming_->monitor;
        monitor.obey(stop);
        // Check before QEMU gets the guest: a QEMU that has another client's guest by now is not
        // ours to end. If no event says so, QEMU itself refuses a second guest.
        MIGRATE_TRY(monitor.read_events());
        if (!prepared_ || changed()) MIGRATE_TRY(check_still_waits());
        // A QEMU that is left behind with a loaded guest would be a second copy.
        MIGRATE_TRY(incoming_->guardian->entrust({.commands = {std::string(kQuit)}}));
        auto guest = std::make_unique<ArrivedGuest>(incoming_, saved.ran);
        monitor.watch().begin();
        Status loaded = incoming_->loader ? incoming_->loader->load(monitor, saved.stream)
                                          : monitor.load_state(saved.stream);
        if (!loaded && loaded.error().kind() == ErrorKind::kPeer) {
            MIGRATE_TRY(guest->leave_to_others());
            return std::move(loaded).error().with_context(
                "QEMU refused the guest, and is left as it is (has another client of QEMU given it "
                "one meanwhile?)");
        }
        if (!loaded) {
            return std::move(loaded).error().with_context(
                "QEMU did not load the guest's devices (its own messages say why; are both started "
                "with the same machine and devices?)");
        }
        // The guest must stand still until resume(): it is loaded paused because of `stop`.
        MIGRATE_TRY(guest->check_never_ran());
        // No stop ends the next steps: they decide which side has the guest.
        monitor.obey({});
        return std::unique_ptr<Guest>(std::move(guest));
    }

  private:
    // True if events say that another client has done something to this QEMU since prepare_load().
    bool changed() const {
        const RunWatch& watch = incoming_->monitor->watch();
        return watch.migrated() || !watch.sign().empty();
    }

    // Another client may have given this QEMU a guest since it was opened, or changed its memory.
    Status check_still_waits() {
        const Monitor::Moment moment(
            *incoming_->monitor,
            joined({memory_questions(*incoming_->monitor), state_questions()}));
        MIGRATE_TRY(check_same_memory(*incoming_->monitor, incoming_->memory));
        return check_waits(*incoming_->monitor);
    }

    std::shared_ptr<Incoming> incoming_;
    bool prepared_ = false;  // prepare_load() has succeeded
};

// Earlier QEMUs move only memory backends with a file's name by their files.
bool is_moved_by_file(const Monitor& monitor, const MemoryBackend& backend) {
    return backend.shared && (backend.type != "memory-backend-memfd" || !monitor.is_at_least(8, 1));
}

// A RAM block has the id of its backend, or its path, as its name (see could_be() in
// qemu_memory.cpp).
std::string backend_of(const Monitor& monitor, const MemoryLayout& layout,
                       const memory::MemoryBlock& block) {
    if (!block.file) return {};
    for (const MemoryBackend& backend : layout.backends) {
        const bool same = block.name == backend.id || block.name == "/objects/" + backend.id;
        if (same && is_moved_by_file(monitor, backend)) return backend.id;
    }
    return {};
}

Result<std::unique_ptr<memory::PageSink>> take_blocks(std::string_view uri, QemuBlocks found,
                                                      memory::UnseenProcesses unseen,
                                                      const std::shared_ptr<Incoming>& incoming) {
    std::vector<memory::SinkBlock> blocks;
    for (memory::MemoryBlock& block : found.blocks) {
        std::string name = backend_of(*incoming->monitor, found.opened.layout, block);
        blocks.push_back({std::move(block), std::move(name)});
    }
    incoming->memory = std::move(found.opened);
    const auto accept = [incoming](memory::OfferedBlocks offered) {
        return incoming->expect(method_of(offered == memory::OfferedBlocks::kAll));
    };
    return memory::make_block_sink(uri, std::move(blocks), std::move(found.process), unseen,
                                   accept);
}

Result<std::unique_ptr<memory::PageSink>> take_files(std::string_view uri,
                                                     const QemuAddress& address,
                                                     const std::shared_ptr<Incoming>& incoming) {
    MIGRATE_ASSIGN(QemuMemory memory,
                   find_qemu_memory(*incoming->monitor, address.pid, FileAccess::kWrite));
    incoming->memory = std::move(memory.opened);
    return memory::make_shared_sink(uri, std::move(memory.regions), memory.owner.pid,
                                    address.unseen);
}

Result<Destination> open_destination_at(std::string_view uri, const QemuAddress& address) {
    MIGRATE_ASSIGN(ClaimedMonitor claimed, claim_monitor(address));
    auto incoming = std::make_shared<Incoming>();
    incoming->monitor = std::move(claimed.monitor);
    incoming->differences = address.differences;
    Monitor& monitor = *incoming->monitor;
    MIGRATE_TRY(check_waits(monitor));
    auto blocks = find_qemu_blocks(monitor, address.pid, FileAccess::kWrite);
    const bool may_have_files =
        (blocks && !*blocks) || (!blocks && blocks.error().kind() == ErrorKind::kRefused);
    std::unique_ptr<memory::PageSink> sink;
    if (blocks && *blocks) {
        MIGRATE_ASSIGN(sink, take_blocks(uri, **std::move(blocks), address.unseen, incoming));
    } else if (may_have_files) {
        MIGRATE_ASSIGN(sink, take_files(uri, address, incoming));
    } else {
        return std::move(blocks).error();
    }
    // Only now it is known that the process is the QEMU that answers.
    MIGRATE_TRY(check_deferred(incoming->memory.owner.pid));
    MIGRATE_ASSIGN(incoming->guardian,
                   Guardian::start(std::move(claimed.claim), monitor.address()));
    // Blocks may be offered as a whole, or only those in files: that is known when a sender comes.
    if (!incoming->memory.blocks) MIGRATE_TRY(incoming->expect(MoveMethod::kSharedFiles));
    log::info("QEMU {}, {}, waits for a guest", monitor.version(),
              incoming->memory.owner.description);
    return Destination{std::move(sink), std::make_unique<QemuLoader>(std::move(incoming))};
}

}  // namespace

Result<Destination> open_qemu_destination(std::string_view uri, const ParsedForm& parsed) {
    const QemuAddress address = qemu_sink_address(parsed);
    auto destination = open_destination_at(uri, address);
    if (!destination) return as_refusal(std::move(destination).error().with_context(uri));
    return destination;
}

}  // namespace migrate::guest
