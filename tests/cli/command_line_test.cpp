// SPDX-License-Identifier: Apache-2.0
#include "cli/command_line.hpp"

#include "base/commit.hpp"
#include "base/version.hpp"
#include "cli_test_support.hpp"
#include "tests/support/must.hpp"
#include "transport/wire.hpp"

using namespace migrate;
using namespace migrate::cli;
using namespace migrate::cli::test;

TEST_CASE("send and recv take their options as flags") {
    const auto send = parse({"send", "--connect", "127.0.0.1:4444", "--source=file:/a=b",
                             "--multifd-channels", "8", "--zero-page-detection=legacy"});
    REQUIRE(send);
    CHECK(send->command == Command::kSend);
    CHECK(send->settings.side() == Side::kSend);
    CHECK(send->settings.get<"connect">() == "127.0.0.1:4444");
    CHECK(send->settings.get<"source">() == "file:/a=b");
    CHECK(send->settings.get<"multifd-channels">() == 8);
    CHECK(send->settings.get<"zero-page-detection">() == "legacy");
    CHECK(send->settings.origin(option_index<"multifd-channels">()) == Origin::kFlag);
    CHECK(send->text.empty());

    const auto recv = parse({"recv", "--listen", "[::1]:0", "--sink", "anon:"});
    REQUIRE(recv);
    CHECK(recv->command == Command::kRecv);
    CHECK(recv->settings.side() == Side::kRecv);
    CHECK(recv->settings.get<"listen">() == "[::1]:0");
}

TEST_CASE("a switch takes its value behind an equals sign or as the next word") {
    for (const auto& words : {std::vector{"send", "--print-config", "--skip-unpopulated=off"},
                              std::vector{"send", "--print-config", "--skip-unpopulated", "off"}}) {
        const auto parsed = parse_command_line(words);
        REQUIRE(parsed);
        CHECK(contains(parsed->text, "\"skip-unpopulated\": false"));
    }
    CHECK(
        contains(refusal({"send", "--skip-unpopulated"}), "option skip-unpopulated needs a value"));
}

TEST_CASE("an unknown flag is answered with the nearest one") {
    CHECK(refusal({"send", "--multifd-chanels", "3"}) ==
          "unknown option 'multifd-chanels': did you mean 'multifd-channels'?");
    CHECK(refusal({"send", "--multifd-chanels=3"}) ==
          "unknown option 'multifd-chanels': did you mean 'multifd-channels'?");
    CHECK(refusal({"recv", "--confg", "f"}) == "unknown option 'confg': did you mean 'config'?");
    CHECK(refusal({"send", "--print-confg"}) ==
          "unknown option 'print-confg': did you mean 'print-config'?");
    CHECK(refusal({"send", "-connect", "a:1"}) ==
          "unknown option '-connect': did you mean '--connect'?");
    CHECK(contains(refusal({"send", "-x"}), "unknown option 'x'"));
    CHECK(refusal({"send", "--colour", "red"}) ==
          "unknown option 'colour': 'migrate send --help all' lists all");
}

TEST_CASE("the beginning of a flag is not taken for the flag") {
    CHECK(contains(refusal({"send", "--multifd-chan", "3"}), "did you mean 'multifd-channels'?"));
    CHECK(contains(refusal({"send", "--conn", "a:1"}), "did you mean 'connect'?"));
}

TEST_CASE("a flag of the other command is answered with that command") {
    CHECK(refusal({"recv", "--connect", "a:1"}) ==
          "option connect belongs to 'migrate send', not to 'migrate recv'");
    CHECK(refusal({"send", "--sink=anon:"}) ==
          "option sink belongs to 'migrate recv', not to 'migrate send'");
}

TEST_CASE("a flag without its value is refused with what it takes") {
    CHECK(refusal({"send", "--source", "x", "--connect"}) ==
          "option connect needs a value: --connect HOST:PORT");
    CHECK(refusal({"send", "--connect", "--source", "x"}) ==
          "option connect needs a value: --connect HOST:PORT");
    CHECK(refusal({"send", "--stats", "--events", "f"}) ==
          "option stats needs a value: --stats FILE");
    CHECK(refusal({"send", "--stats", "--events=f"}) == "option stats needs a value: --stats FILE");
    CHECK(refusal({"send", "--config"}) == "option config needs a value: --config FILE");
}

TEST_CASE("--json stands for on where no value follows") {
    const auto json_of = [](std::initializer_list<const char*> words) {
        const auto parsed = parse(words);
        INFO((parsed ? "" : parsed.error().message()));
        REQUIRE(parsed);
        return parsed->settings.get<"json">();
    };
    const char* at = "127.0.0.1:4444";
    CHECK(json_of({"recv", "--sink", "anon:", "--listen", at, "--json"}));
    CHECK(json_of({"recv", "--json", "--sink", "anon:", "--listen", at}));
    CHECK(json_of({"recv", "--json", "on", "--sink", "anon:", "--listen", at}));
    CHECK(json_of({"recv", "--json=on", "--sink", "anon:", "--listen", at}));
    CHECK_FALSE(json_of({"recv", "--json", "off", "--sink", "anon:", "--listen", at}));
    CHECK_FALSE(json_of({"recv", "--sink", "anon:", "--listen", at}));
    CHECK(contains(refusal({"recv", "--json", "maybe"}), "option json"));
    CHECK(contains(refusal({"send", "--stats", "--json"}), "option stats needs a value"));
    const auto help = parse({"send", "--json", "-h"});
    REQUIRE(help);
    CHECK(help->command == Command::kHelp);
}

TEST_CASE("a wrong command line still shows whether it asks for JSON") {
    const auto asks = [](std::initializer_list<const char*> words) {
        CHECK_FALSE(parse(words));
        const auto settings =
            readable_settings(std::span<const char* const>(words.begin(), words.size()));
        return settings && settings->get<"json">();
    };
    CHECK(asks({"send", "--json"}));
    CHECK(asks({"send", "--conect", "x:1", "--json"}));
    CHECK(asks({"recv", "--json", "--listen", "nonsense"}));
    CHECK(asks({"recv", "--listen", "127.0.0.1:1", "stray", "--json"}));
    CHECK(asks({"send", "--source", "--json", "--json"}));
    CHECK(asks({"send", "--print-config=3", "--json"}));
    CHECK(asks({"send", "--print-config=3", "--json=on"}));
    CHECK_FALSE(asks({"send", "--json", "off"}));
    CHECK_FALSE(asks({"send", "--print-config=3", "--json", "off"}));
    CHECK_FALSE(asks({"send", "--print-config=3", "--json=off"}));
    CHECK_FALSE(asks({"send"}));
    CHECK_FALSE(asks({"sned", "--json"}));
    CHECK_FALSE(asks({}));
    const TemporaryFile config(R"({"json": true})");
    CHECK(asks({"send", "--config", config.path().c_str()}));
    CHECK(asks({"send", "--config", config.path().c_str(), "--nonsense"}));
}

TEST_CASE("a value may look like a flag that does not exist") {
    const auto parsed = parse({"send", "--print-config", "--stats=--events", "--events=-x"});
    REQUIRE(parsed);
    CHECK(contains(parsed->text, R"("stats": "--events")"));
    CHECK(contains(parsed->text, R"("events": "-x")"));
}

TEST_CASE("an empty value unsets a text") {
    const TemporaryFile file(R"({"stats": "from-the-file"})");
    for (const auto& words :
         {std::vector{"send", "--config", file.path().c_str(), "--stats=", "--print-config"},
          std::vector{"send", "--config", file.path().c_str(), "--stats", "", "--print-config"}}) {
        const auto parsed = parse_command_line(words);
        REQUIRE(parsed);
        CHECK(contains(parsed->text, R"("stats": "")"));
    }
}

TEST_CASE("a flag given twice is refused") {
    CHECK(refusal({"send", "--stats", "a", "--stats", "a"}) == "option stats is given twice");
    CHECK(refusal({"send", "--print-config", "--print-config"}) ==
          "option print-config is given twice");
    CHECK(refusal({"send", "--config", "a", "--config", "b"}) == "option config is given twice");
}

TEST_CASE("an option of several values collects those of its flags, which replace the file's") {
    const TemporaryFile file(R"({"connect": ["f:1", "g:1"], "source": "anon:1G"})");
    const auto from_file = parse({"send", "--config", file.path().c_str()});
    REQUIRE(from_file);
    CHECK(from_file->settings.get<"connect">() == "f:1 g:1");
    const auto flags =
        parse({"send", "--config", file.path().c_str(), "--connect", "a:1", "--path=remote=c:1",
               "--connect=b:1", "--path", "remote=d:1,channels=2"});
    REQUIRE(flags);
    CHECK(flags->settings.get<"connect">() == "a:1 b:1");
    CHECK(flags->settings.get<"path">() == "remote=c:1 remote=d:1,channels=2");
    CHECK(contains(refusal({"send", "--connect", "a:1", "--connect", "b"}), "is not HOST:PORT"));
    CHECK(contains(refusal({"send", "--path", "local=10.0.0.1"}), "remote=HOST:PORT is missing"));
}

TEST_CASE("a stray word is refused") {
    CHECK(refusal({"send", "127.0.0.1:4444"}) ==
          "'127.0.0.1:4444' is not an option of 'migrate send': options begin with --");
    CHECK(refusal({"send", "--stats", "a", "b"}) ==
          "'b' is not an option of 'migrate send': options begin with --");
    CHECK(contains(refusal({"recv", "--", "x"}), "'x' is not an option"));
    CHECK(contains(refusal({"recv", ""}), "'' is not an option"));
    CHECK(contains(refusal({"recv", "---"}), "'---' is not an option"));
    CHECK(contains(refusal({"recv", "--=3"}), "is not an option"));
    CHECK(contains(refusal({"recv", "-"}), "'-' is not an option"));
}

TEST_CASE("a value that is not allowed is refused with what is") {
    CHECK(refusal({"send", "--multifd-channels", "300"}) ==
          "option multifd-channels: 300 is out of range 1 … 255 or auto");
    CHECK(refusal({"send", "--multifd-channels", "-3"}) ==
          "option multifd-channels: '-3' is not a whole number");
    CHECK(refusal({"send", "--verify", "md5"}) ==
          "option verify: must be none or digest, not 'md5'");
    CHECK(refusal({"send", "--print-config=yes"}) == "option print-config takes no value");
}

TEST_CASE("a command without what it needs is refused with all that is missing") {
    CHECK(refusal({"send"}) == "'migrate send' needs --connect HOST:PORT and --source SOURCE");
    CHECK(refusal({"recv", "--listen", "a:1"}) == "'migrate recv' needs --sink SINK");
}

TEST_CASE("no command at all is answered with a short usage") {
    const auto parsed = parse_command_line({});
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().kind() == ErrorKind::kUsage);
    CHECK(contains(parsed.error().message(), "usage: migrate recv --listen HOST:PORT --sink SINK"));
}

TEST_CASE("an unknown command is answered with the nearest one") {
    CHECK(refusal({"snd"}) == "unknown command 'snd': did you mean 'send'?");
    CHECK(refusal({"receive"}) == "unknown command 'receive': did you mean 'recv'?");
    CHECK(refusal({"hlep"}) == "unknown command 'hlep': did you mean 'help'?");
    CHECK(refusal({"version"}) ==
          "unknown command 'version': use send, recv, status, probe, bench, help, completion or "
          "schema");
    CHECK(refusal({"--frobnicate"}) == "unknown option '--frobnicate': use --help or --version");
    CHECK(refusal({"-v"}) == "unknown option '-v': did you mean '--version'?");
    CHECK(refusal({"--connect", "a:1"}) ==
          "the command comes first: migrate send|recv --connect …");
    CHECK(refusal({"help", "sned"}) == "unknown command 'sned': did you mean 'send'?");
}

TEST_CASE("help and version are texts to print, on whatever way they are asked for") {
    for (const auto& words : {std::vector{"help"}, std::vector{"--help"}, std::vector{"-h"}}) {
        const auto parsed = parse_command_line(words);
        REQUIRE(parsed);
        CHECK(parsed->command == Command::kHelp);
        CHECK(contains(parsed->text, "Commands:"));
    }
    for (const auto& words : {std::vector{"send", "--help"}, std::vector{"send", "-h"},
                              std::vector{"help", "send"}, std::vector{"--help", "send"},
                              std::vector{"send", "--multifd-channels", "0", "--help"}}) {
        const auto parsed = parse_command_line(words);
        REQUIRE(parsed);
        CHECK(parsed->command == Command::kHelp);
        CHECK(contains(parsed->text, "Usage: migrate send"));
    }
    for (const auto& words : {std::vector{"--version"}, std::vector{"recv", "--version"}}) {
        const auto parsed = parse_command_line(words);
        REQUIRE(parsed);
        CHECK(parsed->command == Command::kVersion);
        CHECK(parsed->text.starts_with(std::string("migrate ") + kVersion + "\n"));
        CHECK(contains(parsed->text, fmt::format("\nprotocol {}\n", transport::kProtocolVersion)));
        CHECK(contains(parsed->text, "\nfeatures multifd, run-list, "));
        CHECK(contains(parsed->text, fmt::format("\ncommit {}\n", kCommit)));
    }
    CHECK(contains(refusal({"--version", "x"}), "remove 'x'"));
    CHECK(contains(refusal({"help", "send", "x"}), "remove 'x'"));
}

TEST_CASE("a flag wins over the configuration file and the file over the default") {
    const TemporaryFile file(R"({"multifd-channels": 4, "verify": "digest"})");
    // The order on the command line plays no part.
    const auto parsed = parse({"send", "--multifd-channels", "8", "--config", file.path().c_str(),
                               "--connect", "a:1", "--source", "anon:1G"});
    REQUIRE(parsed);
    CHECK(parsed->settings.get<"multifd-channels">() == 8);
    CHECK(parsed->settings.get<"verify">() == "digest");
    CHECK(parsed->settings.get<"multifd-compression">() == "none");
}

TEST_CASE("a command can take all its options from a file") {
    const TemporaryFile file(R"({"connect": "a:1", "source": "anon:1G"})");
    const auto parsed = parse({"send", "--config", file.path().c_str()});
    REQUIRE(parsed);
    CHECK(parsed->settings.get<"source">() == "anon:1G");
    CHECK(contains(refusal({"send", "--config", "/nonexistent/migrate.json"}),
                   "/nonexistent/migrate.json: cannot open the file"));
}

TEST_CASE("the printed configuration reads back as the same settings") {
    const auto first = parse({"send", "--print-config", "--connect", "[::1]:4444", "--source",
                              "file:/tmp/a \"b\"", "--multifd-channels", "16", "--max-bandwidth",
                              "100M/s", "--skip-unpopulated", "off", "--multifd-normal-page-ratio",
                              "50", "--multifd-packet-size", "4096", "--io-timeout", "1500"});
    REQUIRE(first);
    CHECK(first->command == Command::kPrintConfig);
    const TemporaryFile file(first->text);
    const auto again = parse({"send", "--print-config", "--config", file.path().c_str()});
    REQUIRE(again);
    CHECK(again->text == first->text);

    const auto used = parse({"send", "--config", file.path().c_str()});
    REQUIRE(used);
    CHECK(used->settings.get<"source">() == "file:/tmp/a \"b\"");
    CHECK(used->settings.get<"multifd-channels">() == 16);
    CHECK(used->settings.get<"max-bandwidth">() == 100 * kMiB);
    CHECK_FALSE(used->settings.get<"skip-unpopulated">());
    CHECK(used->settings.get<"multifd-normal-page-ratio">() == 50);
    CHECK(used->settings.get<"multifd-packet-size">() == 4096);
    CHECK(used->settings.get<"io-timeout">() == 1500);
}

TEST_CASE("the printed defaults are complete and read back") {
    for (const char* command : {"send", "recv"}) {
        const auto printed = parse({command, "--print-config"});
        REQUIRE(printed);
        const Side side = std::string_view(command) == "send" ? Side::kSend : Side::kRecv;
        for (const Option& option : kOptions) {
            INFO(option.key);
            CHECK(contains(printed->text, "\"" + std::string(option.key) + "\":") ==
                  option_applies(option, side));
        }
        const TemporaryFile file(printed->text);
        const auto again = parse({command, "--config", file.path().c_str(), "--print-config"});
        REQUIRE(again);
        CHECK(again->text == printed->text);
    }
}

TEST_CASE("a printed configuration with a value that is not UTF-8 is an error") {
    CHECK(contains(refusal({"send", "--print-config", "--stats", "\xff\xfe"}), "UTF-8"));
}

TEST_CASE("probe and status take --json and nothing else") {
    for (const auto& [name, command] :
         {std::pair{"probe", Command::kProbe}, std::pair{"status", Command::kStatus}}) {
        INFO(name);
        const auto text = parse({name});
        REQUIRE(text);
        CHECK(text->command == command);
        CHECK(text->print_format == PrintFormat::kText);
        const auto json = parse({name, "--json"});
        REQUIRE(json);
        CHECK(json->command == command);
        CHECK(json->print_format == PrintFormat::kJson);
        CHECK(refusal({name, "--jsn"}) ==
              fmt::format("'migrate {}' has no option '--jsn': its only option is --json", name));
        for (const auto& words : {std::vector{name, "--help"}, std::vector{"help", name}}) {
            const auto help = parse_command_line(words);
            REQUIRE(help);
            CHECK(help->command == Command::kHelp);
            CHECK(contains(help->text, fmt::format("Usage: migrate {} [--json]", name)));
        }
    }
    CHECK(refusal({"prob"}) == "unknown command 'prob': did you mean 'probe'?");
    CHECK(refusal({"statu"}) == "unknown command 'statu': did you mean 'status'?");
}

TEST_CASE("the hidden commands take exactly their words") {
    CHECK(parse({"man"}));
    CHECK(parse({"options-markdown"}));
    CHECK(parse({"exit-codes-markdown"}));
    CHECK(parse({"completion", "bash"}));
    CHECK(contains(refusal({"man", "x"}), "remove 'x'"));
    CHECK(parse({"completion", "zsh"}));
    CHECK(parse({"completion", "fish"}));
    CHECK(contains(refusal({"completion"}), "use bash, zsh or fish"));
    CHECK(contains(refusal({"completion", "csh"}), "use bash, zsh or fish"));
    CHECK(contains(refusal({"completion", "bash", "x"}), "remove 'x'"));
    for (const char* name : {"config", "statistics", "events", "scenario"}) {
        CHECK(contains(must(parse({"schema", name})).text, "2020-12/schema"));
    }
    CHECK(contains(refusal({"schema"}), "use config, statistics, events or scenario"));
    CHECK(contains(refusal({"schema", "stats"}), "use config, statistics, events or scenario"));
    CHECK(contains(refusal({"schema", "config", "x"}), "remove 'x'"));
}
