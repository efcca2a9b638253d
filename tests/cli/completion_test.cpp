// SPDX-License-Identifier: Apache-2.0
#include "cli/completion/completion.hpp"

#include <sstream>
#include <vector>

#include "base/config/option_table.hpp"
#include "cli_test_support.hpp"

using namespace migrate;
using namespace migrate::cli;
using namespace migrate::cli::test;

namespace {

// Returns the words that bash would offer for the last of the words.
std::vector<std::string> offered(const std::vector<std::string>& words) {
    const TemporaryFile script(bash_completion());
    std::string list;
    for (const std::string& word : words) list += " '" + word + "'";
    const TemporaryFile driver(
        fmt::format("source '{}'\n"
                    "COMP_WORDS=({})\n"
                    "COMP_CWORD={}\n"
                    "_migrate\n"
                    "printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
                    script.path(), list, words.size() - 1));
    const auto result = run_shell("bash --norc -u '" + driver.path() + "' 2>&1");
    CHECK(result.exit_code == 0);
    std::vector<std::string> replies;
    std::istringstream lines(result.output);
    for (std::string line; std::getline(lines, line);) {
        if (!line.empty()) replies.push_back(line);
    }
    return replies;
}

using Candidates = std::vector<std::string>;

}  // namespace

TEST_CASE("completion offers the commands first") {
    CHECK(offered({"migrate", ""}) == Candidates{"recv", "send", "status", "probe", "bench", "help",
                                                 "completion", "schema", "--help", "--version"});
    CHECK(offered({"migrate", "s"}) == Candidates{"send", "status", "schema"});
    CHECK(offered({"migrate", "help", ""}) ==
          Candidates{"send", "recv", "status", "probe", "bench"});
    CHECK(offered({"migrate", "probe", ""}) == Candidates{"--json", "--help"});
    CHECK(offered({"migrate", "unknown", ""}).empty());
    CHECK(offered({"migrate", "completion", ""}) == Candidates{"bash", "zsh", "fish"});
    CHECK(offered({"migrate", "schema", "s"}) == Candidates{"statistics", "scenario"});
    CHECK(offered({"migrate", "bench", "dsa-"}) == Candidates{"dsa-50", "dsa-zero"});
    CHECK(offered({"migrate", "bench", "--peer", ""}) == Candidates{"qemu", "none"});
}

TEST_CASE("completion offers every flag of the command and none of the other") {
    for (const auto& [command, side] : {std::pair{"send", Side::kSend}, {"recv", Side::kRecv}}) {
        const Candidates flags = offered({"migrate", command, "--"});
        for (const Option& option : kOptions) {
            const std::string flag = "--" + std::string(option.key);
            INFO(command << " " << flag);
            const bool found = std::find(flags.begin(), flags.end(), flag) != flags.end();
            CHECK(found == option_applies(option, side));
        }
        CHECK(std::find(flags.begin(), flags.end(), "--print-config") != flags.end());
    }
    CHECK(offered({"migrate", "send", "--multifd-c"}) ==
          Candidates{"--multifd-channels", "--multifd-compression"});
}

TEST_CASE("completion offers choices behind a flag, with a blank or an equals sign between") {
    CHECK(offered({"migrate", "send", "--multifd-compression", ""}) ==
          Candidates{"none", "lz4", "zstd"});
    CHECK(offered({"migrate", "send", "--multifd-compression", "="}) ==
          Candidates{"none", "lz4", "zstd"});
    CHECK(offered({"migrate", "send", "--multifd-compression", "=", "z"}) == Candidates{"zstd"});
    CHECK(offered({"migrate", "send", "--skip-unpopulated", "o"}) == Candidates{"on", "off"});
    CHECK(offered({"migrate", "send", "--multifd-channels", ""}).empty());
}

TEST_CASE("completion offers file names where a file is meant, also with a blank in them") {
    const TemporaryFile file("");
    const std::string beginning = file.path().substr(0, file.path().size() - 2);
    CHECK(offered({"migrate", "recv", "--stats", beginning}) == Candidates{file.path()});
    CHECK(offered({"migrate", "recv", "--config", beginning}) == Candidates{file.path()});
    const std::string spaced = file.path() + " spaced";
    std::ofstream(spaced) << "";
    CHECK(offered({"migrate", "send", "--source", file.path() + " "}) == Candidates{spaced});
    std::filesystem::remove(spaced);
}

TEST_CASE("completion offers the forms of a value, and files where a path is one of them") {
    CHECK(offered({"migrate", "send", "--source", "w"}) == Candidates{"workload:"});
    CHECK(offered({"migrate", "recv", "--sink", "n"}) == Candidates{"null:"});
    CHECK(offered({"migrate", "recv", "--devices", ""}) == Candidates{"file:", "fd:", "sim:"});
    CHECK(offered({"migrate", "send", "--accel-path", "s"}) == Candidates{"softdsa:"});
    const TemporaryFile file("");
    CHECK(offered({"migrate", "recv", "--sink", file.path()}) == Candidates{file.path()});
}

// Returns what the script hands to zsh's own functions for the last of the words. They need a
// terminal, and print their arguments here.
std::string handed_to_zsh(const std::string& words) {
    const TemporaryFile script(zsh_completion());
    const TemporaryFile driver(
        fmt::format("_describe() {{ print -l -- ${{(P)2}} }}\n"
                    "_arguments() {{ print -l -- \"$@\" }}\n"
                    "_files() {{ print files }}\n"
                    "compadd() {{ print -l -- \"$@\" }}\n"
                    "compdef() {{ }}\n"
                    "words=({})\n"
                    "CURRENT=$#words\n"
                    "source {}\n"
                    "_migrate\n"
                    "_migrate_sink\n",
                    words, script.path()));
    const auto result = run_shell("zsh -f '" + driver.path() + "' 2>&1");
    INFO(result.output);
    CHECK(result.exit_code == 0);
    return result.output;
}

TEST_CASE("zsh offers commands, flags, choices and forms") {
    if (!has_program("zsh")) return;
    const std::string first = handed_to_zsh("migrate ''");
    CHECK(contains(first, "recv:Wait for a sender and receive the memory\n"));
    CHECK(contains(first, "--version\n"));
    CHECK(contains(first, "anon:\n"));
    const std::string send = handed_to_zsh("migrate send ''");
    CHECK(contains(send, "--multifd-channels["));
    CHECK(contains(send, ":none|lz4|zstd:(none lz4 zstd)\n"));
    CHECK_FALSE(contains(send, "--listen["));
    CHECK(contains(handed_to_zsh("migrate recv ''"), ":SINK:_migrate_sink\n"));
    CHECK(contains(zsh_completion(), "'*--path["));
    CHECK(contains(handed_to_zsh("migrate bench ''"), " dsa-50 dsa-zero "));
    CHECK(contains(handed_to_zsh("migrate bench ''"), "--out[Folder"));
    CHECK(contains(handed_to_zsh("migrate help ''"), "*:word:(send recv status probe bench)\n"));
}

TEST_CASE("fish offers commands, flags, choices and forms") {
    if (!has_program("fish")) return;
    const TemporaryFile script(fish_completion());
    const auto offered_by_fish = [&](const std::string& line) {
        const auto result = run_shell("fish --no-config -c 'source " + script.path() +
                                      "; complete -C \"" + line + "\"' 2>&1");
        INFO(result.output);
        CHECK(result.exit_code == 0);
        return result.output;
    };
    CHECK(contains(offered_by_fish("migrate re"), "recv\t"));
    CHECK(contains(offered_by_fish("migrate send --multifd-ch"), "--multifd-channels\t"));
    CHECK_FALSE(contains(offered_by_fish("migrate send --"), "--listen\t"));
    CHECK(contains(offered_by_fish("migrate send --multifd-compression "), "zstd"));
    CHECK(contains(offered_by_fish("migrate recv --sink "), "anon:"));
    CHECK(contains(offered_by_fish("migrate bench dsa-"), "dsa-zero"));
    CHECK(contains(offered_by_fish("migrate help "), "probe"));
}

TEST_CASE("shellcheck has nothing to say against the completion script") {
    if (!has_program("shellcheck")) return;
    const TemporaryFile script(bash_completion());
    const auto result = run_shell("shellcheck --shell=bash '" + script.path() + "' 2>&1");
    INFO(result.output);
    CHECK(result.exit_code == 0);
}
