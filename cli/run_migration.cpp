// SPDX-License-Identifier: Apache-2.0
#include "cli/run_migration.hpp"

#include <functional>
#include <memory>

#include "base/catching.hpp"
#include "base/config/option_lookup.hpp"
#include "base/log.hpp"
#include "cli/guest_run.hpp"
#include "cli/qmp_commands.hpp"
#include "cli/run_result.hpp"
#include "cli/sandbox.hpp"
#include "cli/session_runner.hpp"
#include "cli/signals.hpp"
#include "cli/there_and_back.hpp"
#include "engine/recv/recv_session.hpp"
#include "engine/send/send_session.hpp"
#include "engine/session_config.hpp"
#include "guest/guest.hpp"

namespace migrate::cli {

namespace {

// Returns the migration's status; `result` receives the result of a guest that was left running
// here.
template <typename Session>
Status run_to_end(Session& session, const Settings& settings, const Signals& signals,
                  RunResult& result, const std::string& thread_name,
                  const std::function<guest::Guest*()>& guest_left_here) {
    const auto leave = [&](std::string_view signal) {
        return result.leave_at_once(signal, report_at_once(session));
    };
    Status status =
        Runner<Session>(session, signals, make_progress(settings, result.events()), leave,
                        [&](const engine::Report& report) { result.outputs().update(report); })
            .run(thread_name);
    result.add(session.report());
    // If printing the report runs out of memory, the rest is still done.
    const Status told = catching("the report", [&]() -> Status {
        if (settings.get<"verbose">()) {
            result.console().say(to_text(result.last()));
        } else if (status) {
            result.console().say(to_summary(result.last()));
        }
        return {};
    });
    if (!told) result.console().report(told.error());
    guest::Guest* guest = guest_left_here();
    if (guest != nullptr && guest->lives_here() && guest->running() && result.last().guest) {
        result.guest_fared(catching("the guest's check", [&] {
            return run_guest_on(*guest, settings, signals, result.console(), result.last());
        }));
    }
    return status;
}

Status send(const Settings& settings, RunResult& result) {
    MIGRATE_ASSIGN(const Signals signals, Signals::create());
    MIGRATE_TRY(open_outputs(settings, signals, result));
    MIGRATE_ASSIGN(engine::SendConfig config, engine::make_send_config(settings));
    MIGRATE_ASSIGN(config.security,
                   read_security(signals, settings, engine::remotes_of(config.paths)));
    const std::string where = engine::paths_text(config.paths);
    MIGRATE_ASSIGN(const guest::Machine machine,
                   unless_signalled<guest::Machine>(signals, "open the source", [settings] {
                       return guest::open_machine(settings.get<"source">());
                   }));
    MIGRATE_ASSIGN(const ParsedForm source, parse_form_of<"source">(settings.get<"source">()));
    if (settings.get<"quit-source">() && !source.is("qemu")) {
        return make_error(ErrorKind::kUsage,
                          "quit-source needs a QEMU as the source (qemu:), not {}",
                          settings.get<"source">());
    }
    MIGRATE_ASSIGN(const bool interrupted, signals.came_within(machine.warm_up));
    if (interrupted) {
        return make_error(ErrorKind::kCancelled, "{} received", signals.take());
    }
    MIGRATE_ASSIGN(const auto session,
                   engine::SendSession::create(std::move(config), *machine.memory, result.events(),
                                               machine.guest.get()));
    MIGRATE_ASSIGN(const auto qmp,
                   serve_qmp(settings,
                             {.report = [&] { return session->report(); },
                              .cancel = [&] { session->cancel("migrate_cancel received"); },
                              .continue_switchover = [&] { return session->continue_switchover(); },
                              .change =
                                  [&](const Settings& changed) {
                                      session->change(engine::make_tunables(changed));
                                  },
                              .start_postcopy = [&] { return session->start_postcopy(); }},
                             result.events()));
    result.outputs().ready(fmt::format("sending to {}", where), where);
    MIGRATE_TRY(run_to_end(*session, settings, signals, result, "live_migration",
                           [&] { return machine.guest.get(); }));
    if (settings.get<"quit-source">()) result.note("quit-source-error", machine.guest->quit());
    return {};
}

Status recv(const Settings& settings, RunResult& result) {
    MIGRATE_ASSIGN(const Sandbox sandbox, Sandbox::begin(settings));
    MIGRATE_ASSIGN(const Signals signals, Signals::create());
    MIGRATE_TRY(open_outputs(settings, signals, result));
    MIGRATE_ASSIGN(engine::RecvConfig config, engine::make_recv_config(settings));
    MIGRATE_ASSIGN(config.security, read_security(signals, settings, config.listen));
    config.security.options.emplace_back("sandbox", sandbox.text());
    const std::string port_file = config.port_file;
    using SessionPointer = std::unique_ptr<engine::RecvSession>;
    MIGRATE_ASSIGN(const SessionPointer session,
                   unless_signalled<SessionPointer>(
                       signals, "open the sink", [config, &events = result.events()] {
                           return engine::RecvSession::create(config, events);
                       }));
    MIGRATE_ASSIGN(const auto qmp,
                   serve_qmp(settings,
                             {.report = [&] { return session->report(); },
                              .cancel = [&] { session->cancel("migrate_cancel received"); },
                              .continue_switchover = {},
                              .change = {}},
                             result.events()));
    MIGRATE_TRY(sandbox.complete());
    MIGRATE_TRY(
        announce_listener(result, session->endpoint(), sandbox, port_file, session->port()));
    return run_to_end(*session, settings, signals, result, "incoming", [&] {
        // The session is over: a one-time key serves no other one.
        config.security.session_ended();
        return session->guest();
    });
}

int run(const Settings& settings, Status (*body)(const Settings&, RunResult&)) {
    log::set_level(settings.get<"quiet">() ? log::Level::kError
                                           : settings.get<"log-level", log::Level>());
    auto result = std::make_unique<RunResult>(settings);
    result->may_write_files();
    Status status = catching(settings.side() == Side::kSend ? "send" : "recv", [&]() -> Status {
        result->outputs().connect();
        return body(settings, *result);
    });
    const int code = result->conclude(std::move(status));
    // A call that was left behind may still use the result.
    if (calls_left_behind()) static_cast<void>(result.release());
    return code;
}

}  // namespace

int run_send(const Settings& settings) {
    return run(settings, settings.get<"repeat">() != 0 ? send_there_and_back : send);
}

int run_recv(const Settings& settings) {
    return run(settings, settings.get<"repeat">() != 0 ? recv_there_and_back : recv);
}

}  // namespace migrate::cli
