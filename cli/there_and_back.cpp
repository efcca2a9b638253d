// SPDX-License-Identifier: Apache-2.0
#include "cli/there_and_back.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/log.hpp"
#include "cli/guest_run.hpp"
#include "cli/sandbox.hpp"
#include "cli/session_runner.hpp"
#include "cli/signals.hpp"
#include "engine/devices/session_devices.hpp"
#include "engine/recv/recv_session.hpp"
#include "engine/send/send_session.hpp"
#include "engine/session_config.hpp"
#include "engine/sink_source.hpp"
#include "guest/guest.hpp"
#include "transport/listener.hpp"

namespace migrate::cli {
namespace {

using engine::RecvSession;
using engine::SendSession;

// The guest while it is on this side, with the memory in which it started, or the memory of the
// session that received it.
struct Home {
    guest::Machine machine;
    std::unique_ptr<RecvSession> session;
    std::unique_ptr<engine::SinkSource> memory;

    guest::Guest* guest() const { return session ? session->guest() : machine.guest.get(); }
    const memory::PageSource& source() const {
        if (memory) return *memory;
        return *machine.memory;
    }
    void settle_in(std::unique_ptr<RecvSession> arrived) {
        leave();
        session = std::move(arrived);
        memory = std::make_unique<engine::SinkSource>(session->sink(), session->offer().regions);
    }
    // Called when the guest is gone; frees its memory.
    void leave() {
        memory.reset();
        session.reset();
        machine = {};
    }
};

class Traveller {
  public:
    Traveller(const Settings& settings, const Signals& signals, RunResult& result)
        : settings_(settings), signals_(signals), result_(result) {}

    Home home;
    std::unique_ptr<transport::Listener> listener;

    Status send(engine::SendConfig config) {
        MIGRATE_TRY(go_on());
        const std::uint32_t leg = config.journey.leg;
        MIGRATE_ASSIGN(const auto session, SendSession::create(std::move(config), home.source(),
                                                               result_.events(), home.guest()));
        MIGRATE_TRY(run(*session, leg, "live_migration"));
        home.leave();
        return {};
    }

    Status receive(engine::RecvConfig config) {
        MIGRATE_TRY(go_on());
        const std::uint32_t leg = config.expected_leg;
        MIGRATE_ASSIGN(auto session, RecvSession::create(std::move(config), result_.events(),
                                                         std::move(listener)));
        MIGRATE_TRY(run(*session, leg, "incoming"));
        listener = session->take_listener();
        home.settle_in(std::move(session));
        return {};
    }

    // If a guest is here after the journey, lets it run on for a while, and checks it.
    void leave_guest() {
        guest::Guest* guest = home.guest();
        if (guest == nullptr || !guest->running()) return;
        if (!result_.has_report() || !result_.last().guest) return;
        result_.guest_fared(
            run_guest_on(*guest, settings_, signals_, result_.console(), result_.last()));
    }

  private:
    // A signal that came after a leg's handover could not stop that leg, but stops the next one.
    Status go_on() const {
        if (interrupted_by_.empty()) return {};
        return make_error(ErrorKind::kCancelled, "{} received: the round trips end after leg {}",
                          interrupted_by_, result_.last().leg);
    }

    template <typename Session>
    Status run(Session& session, std::uint32_t leg, const std::string& thread_name) {
        Runner<Session> runner(
            session, signals_, make_progress(settings_, result_.events()),
            [&](std::string_view signal) {
                return result_.leave_at_once(signal, of_leg(report_at_once(session), leg));
            },
            [&](const engine::Report& report) { result_.outputs().update(*of_leg(report, leg)); });
        Status status = runner.run(thread_name);
        interrupted_by_ = runner.interrupted_by();
        result_.add(*of_leg(session.report(), leg));
        const engine::Report& report = result_.last();
        result_.console().say(fmt::format("leg {}, {}: {}, total time {} ms, downtime {} ms\n", leg,
                                          report.side, name_of(report.status),
                                          report.total_time.count() / 1000,
                                          report.downtime.total.count() / 1000));
        return status;
    }

    static std::optional<engine::Report> of_leg(std::optional<engine::Report> report,
                                                std::uint32_t leg) {
        if (!report) return report;
        report->leg = leg;
        // A guest that has not come back is still at the receiver of the previous leg, even if no
        // sender has connected.
        if (leg > 1 && report->guest_owner == engine::GuestOwner::kNone) {
            report->guest_owner = engine::GuestOwner::kSource;
        }
        return report;
    }

    const Settings& settings_;
    const Signals& signals_;
    RunResult& result_;
    std::string_view interrupted_by_;  // the signal that came during the last leg
};

// Configures the way back like the way there, as far as the offer describes it.
Result<engine::SendConfig> way_back(const RecvSession& arrived, const engine::RecvConfig& here) {
    const transport::Offer& offer = arrived.offer();
    engine::SendConfig config;
    MIGRATE_ASSIGN(transport::Address home, transport::parse_address(arrived.peer_name()));
    home.port = offer.journey.return_port;
    config.paths.push_back({.route = std::move(home)});
    config.negotiated = offer.settings;
    MIGRATE_ASSIGN(config.tunables, engine::tunables_for_way_back(offer.journey.options));
    config.connect_timeout = here.handshake_timeout;
    config.handshake_timeout = here.handshake_timeout;
    config.io_timeout = here.io_timeout;
    config.reconnect_timeout = offer.reconnect_timeout.value_or(std::chrono::milliseconds(0));
    config.security = here.security;
    config.device_state = here.device_state == transport::DeviceStateMode::kAuto
                              ? offer.device_state
                              : here.device_state;
    config.journey = offer.journey;
    ++config.journey.leg;
    MIGRATE_ASSIGN(const auto announced, engine::devices_from_offer(offer.devices));
    for (const devices::DeviceSpec& device : announced) {
        if (device.kind == devices::DeviceKind::kSimulated) config.devices.push_back(device);
        for (const devices::DeviceSpec& own : here.devices) {
            if (own.id == device.id && device.kind == devices::DeviceKind::kStream) {
                config.devices.push_back(own);
            }
        }
    }
    return config;
}

Status go_and_come_back(Traveller& traveller, const engine::SendConfig& there,
                        const engine::RecvConfig& back) {
    for (std::uint32_t leg = 1; leg <= there.journey.legs; leg += 2) {
        engine::SendConfig going = there;
        going.journey.leg = leg;
        MIGRATE_TRY(traveller.send(std::move(going)));
        engine::RecvConfig coming = back;
        coming.expected_leg = leg + 1;
        MIGRATE_TRY(traveller.receive(std::move(coming)));
    }
    return {};
}

Status take_in_and_send_back(Traveller& traveller, engine::RecvConfig config) {
    for (config.expected_leg = 1;; config.expected_leg += 2) {
        // The first leg may take long to arrive; the sender of a further leg needs no time to start
        // it.
        if (config.expected_leg > 1 && !config.listen_timeout) {
            config.listen_timeout = config.handshake_timeout;
        }
        MIGRATE_TRY(traveller.receive(config));
        const transport::Journey journey = traveller.home.session->offer().journey;
        MIGRATE_ASSIGN(engine::SendConfig back, way_back(*traveller.home.session, config));
        MIGRATE_TRY(traveller.send(std::move(back)));
        if (journey.leg + 1 >= journey.legs) return {};
    }
}

// The call may be slow: the address may be a name that takes a while to resolve.
Result<std::unique_ptr<transport::Listener>> open_listener(const Signals& signals,
                                                           const engine::RecvConfig& config) {
    using Pointer = std::unique_ptr<transport::Listener>;
    return unless_signalled<Pointer>(signals, "open the listener",
                                     [addresses = config.listen, timeout = config.handshake_timeout,
                                      security = config.security] {
                                         return transport::Listener::create(addresses, timeout,
                                                                            security);
                                     });
}

}  // namespace

Status send_there_and_back(const Settings& settings, RunResult& result) {
    MIGRATE_ASSIGN(const Signals signals, Signals::create());
    MIGRATE_TRY(open_outputs(settings, signals, result));
    MIGRATE_ASSIGN(engine::SendConfig there, engine::make_send_config(settings));
    MIGRATE_ASSIGN(there.security,
                   read_security(signals, settings, engine::remotes_of(there.paths)));
    engine::RecvConfig back;
    MIGRATE_ASSIGN(transport::Address return_address,
                   transport::parse_address(settings.get<"return-listen">()));
    back.listen.push_back(std::move(return_address));
    back.sink = "anon:";
    back.security = there.security;
    // If the receiver of the odd legs cannot come back, it says so; the wait for it has a limit.
    back.listen_timeout = there.handshake_timeout;
    back.handshake_timeout = there.handshake_timeout;
    back.io_timeout = there.io_timeout;
    back.devices = there.devices;
    back.device_state = there.device_state;
    back.most_legs = static_cast<std::uint32_t>(2 * settings.get<"repeat">());
    MIGRATE_ASSIGN(auto listener, open_listener(signals, back));
    there.journey = {.leg = 1,
                     .legs = back.most_legs,
                     .return_port = listener->port(),
                     .options = engine::options_for_way_back(settings)};

    MIGRATE_ASSIGN(guest::Machine machine,
                   unless_signalled<guest::Machine>(signals, "open the source", [settings] {
                       return guest::open_machine(settings.get<"source">());
                   }));
    if (!machine.guest || !machine.guest->lives_here()) {
        return Error(ErrorKind::kUsage,
                     "repeat needs a guest that this program runs: use the source workload:");
    }
    if (settings.get<"quit-source">()) {
        return Error(ErrorKind::kUsage,
                     "quit-source and repeat cannot be combined: the guest comes back to the "
                     "source");
    }
    MIGRATE_ASSIGN(const bool interrupted, signals.came_within(machine.warm_up));
    if (interrupted) return make_error(ErrorKind::kCancelled, "{} received", signals.take());
    Traveller traveller(settings, signals, result);
    traveller.home.machine = std::move(machine);
    traveller.listener = std::move(listener);
    const std::string where = engine::paths_text(there.paths);
    result.outputs().ready(fmt::format("sending to {}", where), where);
    Status status = go_and_come_back(traveller, there, back);
    traveller.leave_guest();
    return status;
}

Status recv_there_and_back(const Settings& settings, RunResult& result) {
    MIGRATE_ASSIGN(const Sandbox sandbox, Sandbox::begin(settings));
    MIGRATE_ASSIGN(const Signals signals, Signals::create());
    MIGRATE_TRY(open_outputs(settings, signals, result));
    MIGRATE_ASSIGN(engine::RecvConfig config, engine::make_recv_config(settings));
    MIGRATE_ASSIGN(config.security, read_security(signals, settings, config.listen));
    config.security.options.emplace_back("sandbox", sandbox.text());
    config.most_legs = static_cast<std::uint32_t>(2 * settings.get<"repeat">());
    Traveller traveller(settings, signals, result);
    MIGRATE_ASSIGN(traveller.listener, open_listener(signals, config));
    MIGRATE_TRY(sandbox.complete());
    MIGRATE_TRY(announce_listener(result, traveller.listener->endpoint(), sandbox, config.port_file,
                                  traveller.listener->port()));
    Status status = take_in_and_send_back(traveller, config);
    config.security.session_ended();
    traveller.leave_guest();
    return status;
}

}  // namespace migrate::cli
