// SPDX-License-Identifier: Apache-2.0
// `migrate bench`: its flags, its help, and its run. Invariant: kBenchFlags is the only list of its
// flags; parsing, help, man page and completion read it.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "bench/baseline_spec.hpp"
#include "bench/bench.hpp"
#include "cli/help.hpp"

namespace migrate::cli {

inline constexpr auto kBenchFlags = std::to_array<CommandFlag>({
    {"list", "", "", "List the scenarios and exit."},
    {"out", "", "DIR",
     "Folder for results.json, report.md and report.html; created if it does not exist."},
    {"quick", "", "", "Use small guests and few repeats, for a check that takes minutes."},
    {"scale", "", "F",
     "Multiply the size of every guest, from 0.0001 to 16. Sizes stay whole huge pages."},
    {"peer", "", "qemu|none",
     "Also measure the installed QEMU, and QEMU 10, with the same guests, in alternation."},
    {"resume", "", "",
     "Continue the results in DIR: keep the finished runs and do the missing ones."},
    {"scenarios", "", "DIR",
     "Take the scenarios from this folder instead of those built into the program."},
    {"scratch", "", "DIR", "A folder on tmpfs for images and received files (default /dev/shm)."},
    {"loop", "", "WORDS",
     "Run one bare loop, print its figures as JSON and exit: network:channels=8,size=1G; "
     "read:threads=2,size=1G; copy:threads=2,size=1G."},
    {"help", "h", "", "Show this help and exit."},
});

// The parsed arguments after "bench".
struct BenchLine {
    bench::Request request;
    std::optional<bench::BaselineSpec> loop;
    bool list = false;
    bool help = false;
};

// Fails with kUsage.
Result<BenchLine> parse_bench(std::span<const char* const> args);

// The text of `migrate bench --help`.
std::string bench_help_text();
// The purpose of the command, in a sentence or two.
std::string_view bench_summary();

// Returns the exit code; errors have been printed.
int run_bench_command(const BenchLine& line);

}  // namespace migrate::cli
