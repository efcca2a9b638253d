// migrate: one program, two sides.
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "base/outcome.hpp"
#include "base/output.hpp"
#include "cli/bench_command.hpp"
#include "cli/command_line.hpp"
#include "cli/console.hpp"
#include "cli/probe.hpp"
#include "cli/run_migration.hpp"
#include "cli/run_result.hpp"

namespace {

// 255 channels, and strangers beside them, need more descriptors than many a default.
void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::string probe(migrate::cli::ProbeFormat format) {
    using namespace migrate::cli;
    const std::vector<ProbedGroup> groups = probe_host();
    return format == ProbeFormat::kJson ? probe_json(groups) : probe_text(groups);
}

int run(std::span<const char* const> arguments) {
    using namespace migrate;
    Result<cli::CommandLine> line = cli::parse_command_line(arguments);
    if (!line) {
        const auto settings = cli::readable_settings(arguments);
        return settings ? cli::conclude_wrong_usage(*settings, line.error())
                        : cli::report_error(line.error());
    }
    if (line->command == cli::Command::kProbe) line->text = probe(line->probe_format);
    if (line->command == cli::Command::kBench) {
        ::signal(SIGPIPE, SIG_IGN);
        return cli::run_bench_command(line->bench);
    }
    if (line->command != cli::Command::kSend && line->command != cli::Command::kRecv) {
        const bool printed =
            std::fputs(line->text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
        return exit_code_of(printed ? Outcome::kCompleted : Outcome::kFailed);
    }
    raise_descriptor_limit();
    // A reader of our output that goes away must not end a migration, nor a file that grows beyond
    // its limit.
    ::signal(SIGPIPE, SIG_IGN);
    ::signal(SIGXFSZ, SIG_IGN);
    return line->command == cli::Command::kSend ? cli::run_send(line->settings)
                                                : cli::run_recv(line->settings);
}

}  // namespace

int main(int argc, char** argv) {
    const auto arguments = std::span<const char* const>(argv, static_cast<std::size_t>(argc));
    const int code = run(arguments.subspan(argc > 0 ? 1 : 0));
    migrate::output::flush();
    return code;
}
