#include "cli/run_migration.hpp"

#include <cstdio>
#include <functional>
#include <memory>

#include "base/log.hpp"
#include "cli/guest_run.hpp"
#include "cli/output_file.hpp"
#include "cli/qmp_commands.hpp"
#include "cli/session_runner.hpp"
#include "cli/signals.hpp"
#include "cli/there_and_back.hpp"
#include "engine/recv_session.hpp"
#include "engine/send_session.hpp"
#include "engine/session_config.hpp"
#include "guest/guest.hpp"

namespace migrate::cli {

using std::chrono::milliseconds;

int report_error(const Error& error) {
    fmt::print(stderr, "migrate: {}: {}\n",
               error.kind() == ErrorKind::kCancelled ? "cancelled" : "error", error.message());
    return error.kind() == ErrorKind::kUsage ? kExitUsage : kExitFailed;
}

namespace {

void set_log_level(const std::string& name) {
    using log::Level;
    log::set_level(name == "debug"     ? Level::kDebug
                   : name == "warning" ? Level::kWarning
                   : name == "error"   ? Level::kError
                                       : Level::kInfo);
}

template <typename Session>
int run_to_end(Session& session, const Settings& settings, const Signals& signals,
               OutputFile& stats, const std::string& thread_name,
               const std::function<guest::Guest*()>& guest_left_here) {
    const Status status =
        Runner<Session>(session, signals, make_progress(settings)).run(thread_name);
    engine::Report report = session.report();
    const std::string text = to_text(report);
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
    guest::Guest* guest = guest_left_here();
    Status guest_fared;
    if (guest != nullptr && guest->lives_here() && guest->running() && report.guest) {
        guest_fared = run_guest_on(*guest, settings, signals, report);
    }
    const Status written = stats.write(to_json(report));
    if (!written) report_error(written.error());
    if (!guest_fared) report_error(guest_fared.error());
    if (!status) {
        const int code = report_error(status.error());
        // What the peer or the system says during a migration is no usage error, whatever it is
        // about.
        return code == kExitUsage ? kExitFailed : code;
    }
    return written && guest_fared ? kExitDone : kExitFailed;
}

Result<int> send(const Settings& settings) {
    MIGRATE_ASSIGN(engine::SendConfig config, engine::make_send_config(settings));
    MIGRATE_ASSIGN(OutputFile stats, OutputFile::open("stats", settings.get<"stats">()));
    MIGRATE_ASSIGN(const auto events, open_events(settings));
    MIGRATE_ASSIGN(const guest::Machine machine, guest::open_machine(settings.get<"source">()));
    if (settings.get<"quit-source">() && (!machine.guest || machine.guest->lives_here())) {
        return make_error(ErrorKind::kUsage, "quit-source ends a QEMU, and the source is none: {}",
                          settings.get<"source">());
    }
    // Not before: until the source is there, which may take a while, a signal may simply end the
    // program.
    MIGRATE_ASSIGN(const Signals signals, Signals::create());
    MIGRATE_ASSIGN(const bool interrupted, signals.came_within(machine.warm_up));
    if (interrupted) {
        return make_error(ErrorKind::kCancelled, "{} received", signals.take());
    }
    MIGRATE_ASSIGN(const auto session,
                   engine::SendSession::create(std::move(config), *machine.memory, *events,
                                               machine.guest.get()));
    MIGRATE_ASSIGN(const auto qmp,
                   serve_qmp(settings,
                             {.report = [&] { return session->report(); },
                              .cancel = [&] { session->cancel("migrate_cancel received"); },
                              .continue_switchover = [&] { return session->continue_switchover(); },
                              .change =
                                  [&](const Settings& changed) {
                                      session->change(engine::make_tunables(changed));
                                  }},
                             *events));
    const int code = run_to_end(*session, settings, signals, stats, "live_migration",
                                [&] { return machine.guest.get(); });
    if (code == kExitDone && settings.get<"quit-source">()) MIGRATE_TRY(machine.guest->quit());
    return code;
}

Result<int> recv(const Settings& settings) {
    MIGRATE_ASSIGN(engine::RecvConfig config, engine::make_recv_config(settings));
    const std::string port_file = config.port_file;
    MIGRATE_ASSIGN(const Signals signals, Signals::create());
    MIGRATE_ASSIGN(OutputFile stats, OutputFile::open("stats", settings.get<"stats">()));
    MIGRATE_ASSIGN(const auto events, open_events(settings));
    MIGRATE_ASSIGN(const auto session, engine::RecvSession::create(std::move(config), *events));
    fmt::print("listening on {}\n", session->endpoint());
    std::fflush(stdout);
    if (!port_file.empty()) {
        MIGRATE_TRY(write_whole_file(port_file, fmt::format("{}\n", session->port())));
    }
    MIGRATE_ASSIGN(const auto qmp,
                   serve_qmp(settings,
                             {.report = [&] { return session->report(); },
                              .cancel = [&] { session->cancel("migrate_cancel received"); },
                              .continue_switchover = {},
                              .change = {}},
                             *events));
    return run_to_end(*session, settings, signals, stats, "incoming",
                      [&] { return session->guest(); });
}

}  // namespace

int run_send(const Settings& settings) {
    set_log_level(settings.get<"log-level">());
    const bool repeats = settings.get<"repeat">() != 0;
    const Result<int> code = repeats ? send_there_and_back(settings) : send(settings);
    return code ? *code : report_error(code.error());
}

int run_recv(const Settings& settings) {
    set_log_level(settings.get<"log-level">());
    const bool repeats = settings.get<"repeat">() != 0;
    const Result<int> code = repeats ? recv_there_and_back(settings) : recv(settings);
    return code ? *code : report_error(code.error());
}

}  // namespace migrate::cli
