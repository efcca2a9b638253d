// migrate: one program, two sides.
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "base/catching.hpp"
#include "cli/bench_command.hpp"
#include "cli/command_line.hpp"
#include "cli/probe.hpp"
#include "cli/run_migration.hpp"

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

migrate::Result<int> run(int argc, char** argv) {
    using namespace migrate;
    const auto arguments = std::span<const char* const>(argv, static_cast<std::size_t>(argc));
    Result<cli::CommandLine> line = cli::parse_command_line(arguments.subspan(argc > 0 ? 1 : 0));
    if (!line) return cli::report_error(line.error());
    if (line->command == cli::Command::kProbe) line->text = probe(line->probe_format);
    if (line->command == cli::Command::kBench) {
        ::signal(SIGPIPE, SIG_IGN);
        return cli::run_bench_command(line->bench);
    }
    if (line->command != cli::Command::kSend && line->command != cli::Command::kRecv) {
        const bool printed =
            std::fputs(line->text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
        return printed ? cli::kExitDone : cli::kExitFailed;
    }
    raise_descriptor_limit();
    // A reader of our output that goes away must not end a migration.
    ::signal(SIGPIPE, SIG_IGN);
    return line->command == cli::Command::kSend ? cli::run_send(line->settings)
                                                : cli::run_recv(line->settings);
}

}  // namespace

int main(int argc, char** argv) {
    const migrate::Result<int> code = migrate::catching("migrate", [&] { return run(argc, argv); });
    if (code) return *code;
    // Without fmt, which may be what failed.
    static_cast<void>(std::fputs("migrate: error: ", stderr));
    static_cast<void>(std::fputs(code.error().message().c_str(), stderr));
    static_cast<void>(std::fputs("\n", stderr));
    return migrate::cli::kExitFailed;
}
