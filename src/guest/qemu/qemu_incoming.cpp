#include "guest/qemu/qemu_incoming.hpp"

#include <atomic>
#include <memory>
#include <utility>

#include "base/log.hpp"
#include "base/outcome.hpp"
#include "guest/external/guardian.hpp"
#include "guest/qemu/monitor.hpp"
#include "guest/qemu/qemu_guest.hpp"
#include "guest/qemu/qemu_memory.hpp"
#include "guest/qemu/undo_commands.hpp"
#include "memory/shared_sink.hpp"

namespace migrate::guest {
namespace {

constexpr std::string_view kQuit = R"({"execute":"quit"})";

// A connection to the QEMU and who minds it, which the loader and the guest share.
struct Incoming {
    Incoming() = default;
    Incoming(Incoming&&) = default;
    Incoming& operator=(Incoming&&) = delete;
    // A QEMU that nobody came to waits on as it did.
    ~Incoming() {
        if (monitor) static_cast<void>(monitor->put_back());
    }

    std::unique_ptr<Monitor> monitor;
    std::unique_ptr<Guardian> guardian;
    OpenedMemory memory;
};

class ArrivedGuest final : public Guest {
  public:
    ArrivedGuest(std::shared_ptr<Incoming> incoming, bool ran)
        : incoming_(std::move(incoming)), ran_(ran) {}
    ~ArrivedGuest() override {
        if (went_on_) return;
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

    // From the first call on the guest is ours, and nobody else's, unless this is an Error.
    Status resume() override {
        Undo undo;
        if (ran_) undo.commands.emplace_back(kContinue);
        MIGRATE_TRY(incoming_->guardian->entrust(undo));
        Status started = ran_ ? run() : Status();
        if (!started) {
            // The sender has it run again: nobody else may.
            static_cast<void>(incoming_->guardian->entrust({.commands = {std::string(kQuit)}}));
            return started;
        }
        running_ = ran_;
        went_on_ = true;
        const Status told = incoming_->guardian->entrust({});
        // Then it is gone itself, and the guest runs.
        if (!told) log::warning("{}", told.error().message());
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
    // An Error only if it is sure that it does not run.
    Status run() {
        Monitor& monitor = *incoming_->monitor;
        auto started = monitor.ask("cont");
        if (started) return {};
        // The connection may be what is wrong, and a second `cont` does no harm.
        if (started.error().kind() != ErrorKind::kPeer && incoming_->guardian->alive() &&
            monitor.reconnect()) {
            started = monitor.ask("cont");
            if (started) return {};
        }
        if (!incoming_->guardian->alive() || started.error().kind() == ErrorKind::kPeer) {
            return started.error();
        }
        log::warning("QEMU did not say whether its guest runs: {}", started.error().message());
        return {};
    }

    std::shared_ptr<Incoming> incoming_;
    bool ran_;  // at the sender
    bool went_on_ = false;
    std::atomic<bool> running_{false};
};

class QemuLoader final : public GuestLoader {
  public:
    explicit QemuLoader(Incoming incoming)
        : incoming_(std::make_shared<Incoming>(std::move(incoming))) {}

    std::string_view kind() const override { return kQemuKind; }

    Result<std::unique_ptr<Guest>> load(std::string_view state) override {
        MIGRATE_ASSIGN(const QemuState saved, decode_qemu_state(state));
        Monitor& monitor = *incoming_->monitor;
        // Before it is given a guest: what arrived is in the memory that was opened.
        MIGRATE_TRY(check_same_memory(monitor, incoming_->memory));
        // A QEMU that holds a guest and was left alone is a second copy.
        MIGRATE_TRY(incoming_->guardian->entrust({.commands = {std::string(kQuit)}}));
        auto guest = std::make_unique<ArrivedGuest>(incoming_, saved.ran);
        Status loaded = monitor.load_state(saved.stream);
        if (!loaded) {
            return std::move(loaded).error().with_context(
                "QEMU did not load the guest's devices (its own messages say why; are both started "
                "with the same machine and devices?)");
        }
        MIGRATE_ASSIGN(const std::string now, monitor.run_state());
        if (now != "paused") {
            return make_error("QEMU is '{}' after it loaded the guest, and not paused", now);
        }
        MIGRATE_TRY(check_same_memory(monitor, incoming_->memory));
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
    MIGRATE_ASSIGN(const std::string migration, monitor.migration_state());
    if (migration != "none") {
        return make_error(
            "it waits for a guest of its own way (its migration is '{}'); start it with -incoming "
            "defer",
            migration);
    }
    // Its guest is not to run by itself once it is loaded, as it does without -S.
    MIGRATE_TRY(monitor.ask("stop"));
    return {};
}

Result<Destination> open_destination_at(std::string_view uri, const QemuAddress& address) {
    Incoming incoming;
    MIGRATE_ASSIGN(incoming.monitor, Monitor::connect(std::string(address.socket)));
    Monitor& monitor = *incoming.monitor;
    MIGRATE_TRY(check_waits(monitor));
    MIGRATE_ASSIGN(QemuMemory memory, find_qemu_memory(monitor, address.pid, FileAccess::kWrite));
    MIGRATE_ASSIGN(incoming.guardian, Guardian::start(memory.owner.pid, monitor.address()));
    MIGRATE_TRY(monitor.plan_settings());
    MIGRATE_TRY(incoming.guardian->entrust({.commands = monitor.undo()}));
    MIGRATE_TRY(monitor.change_settings());
    incoming.memory = std::move(memory.opened);
    log::info("QEMU {}, {}, waits for a guest", monitor.version(), memory.owner.description);
    return Destination{
        memory::make_shared_sink(uri, std::move(memory.regions), memory.owner.pid, address.unseen),
        std::make_unique<QemuLoader>(std::move(incoming))};
}

}  // namespace

Result<Destination> open_qemu_destination(std::string_view uri, std::string_view words) {
    MIGRATE_ASSIGN(const QemuAddress address, parse_qemu_address(uri, words, FileAccess::kWrite));
    auto destination = open_destination_at(uri, address);
    if (!destination) return as_refusal(std::move(destination).error().with_context(uri));
    return destination;
}

}  // namespace migrate::guest
