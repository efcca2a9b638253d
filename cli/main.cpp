// SPDX-License-Identifier: Apache-2.0
// The program `migrate`, for both sides: chooses the command and turns its result into an exit
// code.
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "base/blocking_call.hpp"
#include "base/catching.hpp"
#include "base/descriptors.hpp"
#include "base/outcome.hpp"
#include "base/output.hpp"
#include "cli/bench_command.hpp"
#include "cli/command_line.hpp"
#include "cli/console.hpp"
#include "cli/monitoring/host_entries.hpp"
#include "cli/probe.hpp"
#include "cli/run_migration.hpp"
#include "cli/run_result.hpp"

namespace {

// Up to 255 channels, their replacements and connections of unknown peers need more descriptors
// than many default limits allow.
void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::string status(migrate::cli::PrintFormat format) {
    using namespace migrate::cli;
    const std::vector<RunningMigration> running = running_migrations();
    return format == PrintFormat::kJson ? status_json(running) : status_lines(running);
}

std::string probe(migrate::cli::PrintFormat format) {
    using namespace migrate::cli;
    const std::vector<ProbedGroup> groups = probe_host();
    return format == PrintFormat::kJson ? probe_json(groups) : probe_text(groups);
}

// These signals would end the process in the middle of a migration. If they are ignored, the
// write() that caused them fails instead: with EPIPE if the reader has gone, with EFBIG beyond
// RLIMIT_FSIZE.
void ignore_write_signals() {
    ::signal(SIGPIPE, SIG_IGN);
    ::signal(SIGXFSZ, SIG_IGN);
}

int print(const std::string& text) {
    const bool printed = std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
    return migrate::exit_code_of(printed ? migrate::Outcome::kCompleted
                                         : migrate::Outcome::kFailed);
}

int run(std::span<const char* const> arguments) {
    using namespace migrate;
    Result<cli::CommandLine> line = cli::parse_command_line(arguments);
    if (!line) {
        const auto settings = cli::readable_settings(arguments);
        return settings ? cli::conclude_wrong_usage(*settings, line.error())
                        : cli::report_error(line.error());
    }
    switch (line->command) {
        case cli::Command::kProbe:
            return print(probe(line->print_format));
        case cli::Command::kStatus:
            return print(status(line->print_format));
        case cli::Command::kBench:
            ignore_write_signals();
            return cli::run_bench_command(line->bench);
        case cli::Command::kSend:
        case cli::Command::kRecv:
            break;
        default:
            return print(line->text);
    }
    raise_descriptor_limit();
    ignore_write_signals();
    return line->command == cli::Command::kSend ? cli::run_send(line->settings)
                                                : cli::run_recv(line->settings);
}

}  // namespace

int main(int argc, char** argv) {
    using namespace migrate;
    const Status adopted = adopt_descriptors();
    const auto arguments = std::span<const char* const>(argv, static_cast<std::size_t>(argc));
    const Result<int> ran = catching("migrate", [&]() -> Result<int> {
        return adopted ? run(arguments.subspan(argc > 0 ? 1 : 0))
                       : cli::report_error(adopted.error());
    });
    int code = exit_code_of(Outcome::kFailed);
    if (ran) {
        code = *ran;
    } else {
        // This does not use fmt, which may be what failed.
        output::to_stderr("migrate: error: ", Importance::kImportant);
        output::to_stderr(ran.error().message(), Importance::kImportant);
        output::to_stderr("\n", Importance::kImportant);
    }
    output::flush();
    // Static destructors would destroy objects that a thread left behind (base/blocking_call) still
    // uses.
    if (calls_left_behind()) ::_exit(code);
    return code;
}
