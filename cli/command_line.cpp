// SPDX-License-Identifier: Apache-2.0
#include "cli/command_line.hpp"

#include <algorithm>
#include <array>
#include <boost/program_options.hpp>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "base/commit.hpp"
#include "base/join_words.hpp"
#include "base/suggestion.hpp"
#include "base/version.hpp"
#include "cli/completion/completion.hpp"
#include "cli/config_file.hpp"
#include "cli/help.hpp"
#include "cli/man_page.hpp"
#include "cli/markdown.hpp"
#include "cli/output_paths.hpp"
#include "cli/schemas.hpp"
#include "cli/usage_error.hpp"
#include "transport/features.hpp"
#include "transport/wire.hpp"

namespace migrate::cli {
namespace {

namespace po = boost::program_options;
using Arguments = std::span<const char* const>;

CommandLine text_to_print(Command command, std::string text) {
    return {.command = command,
            .settings = Settings(Side::kSend),
            .text = std::move(text),
            .print_format = PrintFormat::kText,
            .bench = {}};
}

po::options_description description_of(Side side) {
    po::options_description description;
    const auto add_with_value = [&](std::string_view name) {
        // Program_options owns the value_semantic that it receives.
        description.add_options()(std::string(name).c_str(), po::value<std::string>());
    };
    for (const Option& option : kOptions) {
        if (option_applies(option, side)) add_with_value(option.key);
    }
    for (const CommandFlag& flag : kCommandFlags) {
        if (!flag.value_name.empty()) {
            add_with_value(flag.name);
            continue;
        }
        // "help,h": the name, and its letter if it has one.
        const std::string_view comma = flag.letter.empty() ? "" : ",";
        const std::string names = fmt::format("{}{}{}", flag.name, comma, flag.letter);
        description.add_options()(names.c_str(), "");
    }
    return description;
}

// True for "--json" at the end or before another flag, which means "--json on".
bool is_switch_alone(Arguments args, std::size_t at) {
    const std::string_view arg = args[at];
    const std::size_t index = find_option(arg.substr(std::min<std::size_t>(2, arg.size())));
    if (!arg.starts_with("--") || index == kOptionCount || !kOptions[index].alone) return false;
    return at + 1 == args.size() || std::string_view(args[at + 1]).starts_with('-');
}

// Separates values that Program_options accepts only as arguments of their own: the empty value of
// "--stats=", and the value of an option that stands for "on" when it is alone. Replaces "-q".
std::vector<std::string> separate_values(Arguments args) {
    std::vector<std::string> words;
    for (std::size_t i = 0; i < args.size(); ++i) {
        const std::string_view arg = args[i];
        if (arg == "-q") {
            words.insert(words.end(), {"--quiet", "on"});
            continue;
        }
        const std::size_t equals = arg.find('=');
        if (arg.starts_with("--") && equals != std::string_view::npos && equals + 1 == arg.size()) {
            words.emplace_back(arg.substr(0, equals));
            words.emplace_back();
            continue;
        }
        words.emplace_back(arg);
        if (is_switch_alone(args, i)) words.emplace_back("on");
    }
    return words;
}

// Returns "connect" for "--connect=x" and for "-connect".
std::string bare_name(std::string_view word) {
    word.remove_prefix(std::min(word.find_first_not_of('-'), word.size()));
    return std::string(word.substr(0, word.find('=')));
}

const CommandFlag* find_command_flag(std::string_view name) {
    const auto* found = std::find_if(kCommandFlags.begin(), kCommandFlags.end(),
                                     [&](const CommandFlag& flag) { return flag.name == name; });
    return found == kCommandFlags.end() ? nullptr : found;
}

Error missing_value(std::string_view name) {
    const std::size_t index = find_option(name);
    const CommandFlag* flag = find_command_flag(name);
    const std::string value_name = index < kOptionCount ? value_name_of(kOptions[index])
                                   : flag != nullptr    ? std::string(flag->value_name)
                                                        : "VALUE";
    return usage_error("option {} needs a value: --{} {}", name, name, value_name);
}

// Program_options takes a flag as the value of the option before it: "--stats --events FILE".
bool value_is_a_flag(const po::option& option) {
    if (option.original_tokens.size() != 2) return false;
    const std::string& word = option.original_tokens.back();
    if (!word.starts_with("--")) return false;
    const std::string name = bare_name(word);
    return find_option(name) < kOptionCount || find_command_flag(name) != nullptr;
}

Error syntax_error(const po::error& error) {
    const auto* syntax = dynamic_cast<const po::invalid_command_line_syntax*>(&error);
    if (syntax == nullptr) return usage_error("the command line cannot be read: {}", error.what());
    const std::string name = bare_name(syntax->get_option_name());
    if (syntax->kind() == po::invalid_syntax::missing_parameter) return missing_value(name);
    if (syntax->kind() == po::invalid_syntax::extra_parameter) {
        return usage_error("option {} takes no value", name);
    }
    return usage_error("the command line cannot be read: {}", error.what());
}

Result<std::vector<po::option>> split_options(Side side, Arguments args) {
    // Abbreviations are not allowed: "--multifd-c" must not mean another option after a row is
    // added.
    namespace style = po::command_line_style;
    constexpr int kStyle = style::allow_long | style::long_allow_adjacent | style::long_allow_next |
                           style::allow_short | style::allow_dash_for_short |
                           style::short_allow_next;
    try {
        const po::options_description description = description_of(side);
        return po::command_line_parser(separate_values(args))
            .options(description)
            .style(kStyle)
            .allow_unregistered()
            .run()
            .options;
    } catch (const po::error& error) {
        return syntax_error(error);
    }
}

// Explains a word that Program_options did not recognize: a stray word, an option of the other
// command, or a typing error.
Error unrecognized(const po::option& option, Side side) {
    const std::string& word = option.original_tokens.front();
    const std::string name = bare_name(word);
    if (option.position_key >= 0 || name.empty()) {
        return usage_error("'{}' is not an option of '{}': options begin with --", word,
                           command_name(side));
    }
    std::vector<std::string_view> names;
    names.reserve(kOptionCount + kCommandFlags.size());
    for (const Option& row : kOptions) names.push_back(row.key);
    for (const CommandFlag& flag : kCommandFlags) names.push_back(flag.name);
    const auto nearest = near_name(name, names);
    if (find_option(name) == kOptionCount && nearest && find_command_flag(*nearest) != nullptr) {
        return usage_error("unknown option '{}': did you mean '{}'?", name, *nearest);
    }
    Result<std::size_t> found = find_option_for(name, side);
    if (found) return usage_error("unknown option '{}': did you mean '--{}'?", word, name);
    return std::move(found).error();
}

// The parsed arguments after "send" or "recv".
struct SideOptions {
    Settings settings;
    std::optional<std::string> config_path;
    std::set<std::string> seen;
};

// A flag that was there before. Its value follows the others.
Status take_another(const po::option& option, SideOptions& to) {
    const std::string& name = option.string_key;
    const std::size_t index = find_option(name);
    if (index == kOptionCount || !kOptions[index].repeats) {
        return usage_error("option {} is given twice", name);
    }
    const std::string& before = to.settings.value(index).text;
    return to.settings.set(name, before + ' ' + option.value.front(), Origin::kFlag);
}

Status take_option(const po::option& option, SideOptions& to) {
    const std::string& name = option.string_key;
    if (option.unregistered || option.position_key >= 0)
        return unrecognized(option, to.settings.side());
    if (value_is_a_flag(option)) return missing_value(name);
    if (!to.seen.insert(name).second) return take_another(option, to);
    if (name == "config") {
        to.config_path = option.value.front();
        return {};
    }
    if (find_command_flag(name) != nullptr) return {};
    return to.settings.set(name, option.value.front(), Origin::kFlag);
}

std::string version_text() {
    return fmt::format("migrate {}\ncommit {}\nprotocol {}\nfeatures {}\n", kVersion, kCommit,
                       transport::kProtocolVersion, fmt::join(transport::feature_names(), ", "));
}

CommandLine help_of(Side side, HelpPart part) {
    return text_to_print(Command::kHelp, command_help_text(side, part));
}

// Returns the help that the line asks for, whatever else is on it: "--help", "--help all".
std::optional<CommandLine> requested_help(Side side, const std::vector<po::option>& options) {
    for (std::size_t at = 0; at < options.size(); ++at) {
        if (options[at].string_key != "help") continue;
        const bool all = at + 1 < options.size() &&
                         options[at + 1].original_tokens == std::vector<std::string>{"all"};
        return help_of(side, all ? HelpPart::kAll : HelpPart::kEveryday);
    }
    return std::nullopt;
}

Result<CommandLine> parse_side(Side side, Arguments args) {
    MIGRATE_ASSIGN(const std::vector<po::option> options, split_options(side, args));
    if (auto help = requested_help(side, options)) return *std::move(help);
    SideOptions parsed{.settings = Settings(side), .config_path = {}, .seen = {}};
    for (const po::option& option : options) MIGRATE_TRY(take_option(option, parsed));
    if (parsed.seen.contains("version")) return text_to_print(Command::kVersion, version_text());
    if (parsed.config_path) {
        MIGRATE_TRY(load_config_file(*parsed.config_path, parsed.settings));
    }
    if (parsed.seen.contains("print-config")) {
        MIGRATE_ASSIGN(std::string text, settings_to_json(parsed.settings));
        return text_to_print(Command::kPrintConfig, std::move(text));
    }
    MIGRATE_TRY(validate(parsed.settings));
    MIGRATE_TRY(check_output_paths(parsed.settings, parsed.config_path));
    return CommandLine{.command = side == Side::kSend ? Command::kSend : Command::kRecv,
                       .settings = std::move(parsed.settings),
                       .text = "",
                       .print_format = PrintFormat::kText,
                       .bench = {}};
}

Error unknown_word(std::string_view what, std::string_view word,
                   std::span<const std::string_view> candidates) {
    return usage_error("unknown {} '{}'{}", what, word, suggestion(word, candidates));
}

Status expect_no_more(std::string_view command, Arguments args) {
    if (args.empty()) return {};
    return usage_error("'migrate {}' takes no further argument: remove '{}'", command,
                       args.front());
}

Result<CommandLine> parse_help(Arguments args) {
    if (args.empty()) return text_to_print(Command::kHelp, overview_text());
    const std::string_view topic = args.front();
    const bool is_side = topic == "send" || topic == "recv";
    const bool all = is_side && args.size() > 1 && std::string_view(args[1]) == "all";
    MIGRATE_TRY(expect_no_more(fmt::format("help {}", topic), args.subspan(all ? 2 : 1)));
    if (is_side) {
        return help_of(topic == "send" ? Side::kSend : Side::kRecv,
                       all ? HelpPart::kAll : HelpPart::kEveryday);
    }
    if (topic == "status") return text_to_print(Command::kHelp, status_help_text());
    if (topic == "probe") return text_to_print(Command::kHelp, probe_help_text());
    if (topic == "bench") return text_to_print(Command::kHelp, bench_help_text());
    constexpr std::array<std::string_view, 5> kTopics{"send", "recv", "status", "probe", "bench"};
    return unknown_word("command", topic, kTopics);
}

// A command whose only option is --json.
Result<CommandLine> parse_printing(Command command, std::string_view name, const std::string& help,
                                   Arguments args) {
    CommandLine line = text_to_print(command, "");
    for (const std::string_view word : args) {
        if (word == "--help" || word == "-h") return text_to_print(Command::kHelp, help);
    }
    for (const std::string_view word : args) {
        if (word != "--json") {
            return usage_error("'migrate {}' has no option '{}': its only option is --json", name,
                               word);
        }
        line.print_format = PrintFormat::kJson;
    }
    return line;
}

Result<CommandLine> parse_bench_line(Arguments args) {
    MIGRATE_ASSIGN(BenchLine bench, parse_bench(args));
    if (bench.help) return text_to_print(Command::kHelp, bench_help_text());
    CommandLine line = text_to_print(Command::kBench, "");
    line.bench = std::move(bench);
    return line;
}

// `command` prints one of several texts, by its name. `what` is "the script of a shell".
template <typename Texts>
Result<CommandLine> parse_named_text(std::string_view command, std::string_view what,
                                     const Texts& texts, Arguments args) {
    const std::string_view name = args.empty() ? "" : args.front();
    std::vector<std::string_view> names;
    for (const auto& each : texts) names.push_back(each.name);
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
        return usage_error("'migrate {}' prints {}: use {}", command, what,
                           join_words(names, "or"));
    }
    MIGRATE_TRY(expect_no_more(fmt::format("{} {}", command, name), args.subspan(1)));
    const auto index = static_cast<std::size_t>(found - names.begin());
    return text_to_print(Command::kHelp, texts[index].text());
}

// These commands serve the build and the tests: the texts that are installed, and those that the
// documents take from the program's tables.
Result<CommandLine> parse_generated(std::string_view command, std::string text, Arguments args) {
    MIGRATE_TRY(expect_no_more(command, args));
    return text_to_print(Command::kHelp, std::move(text));
}

Error unknown_command(std::string_view word) {
    if (!word.starts_with('-')) {
        constexpr std::array<std::string_view, 8> kCommands{
            "send", "recv", "status", "probe", "bench", "help", "completion", "schema"};
        return unknown_word("command", word, kCommands);
    }
    const std::string name = bare_name(word);
    if (find_option(name) < kOptionCount || find_command_flag(name) != nullptr) {
        return usage_error("the command comes first: migrate send|recv --{} …", name);
    }
    constexpr std::array<std::string_view, 2> kFlags{"help", "version"};
    return usage_error("unknown option '{}'{}", word, suggestion(name, kFlags, "--"));
}

}  // namespace

Result<CommandLine> parse_command_line(Arguments args) {
    if (args.empty()) return usage_error("a command is missing\n{}", short_usage());
    const std::string_view command = args.front();
    const Arguments rest = args.subspan(1);
    if (command == "send") return parse_side(Side::kSend, rest);
    if (command == "recv") return parse_side(Side::kRecv, rest);
    if (command == "status") {
        return parse_printing(Command::kStatus, command, status_help_text(), rest);
    }
    if (command == "probe") {
        return parse_printing(Command::kProbe, command, probe_help_text(), rest);
    }
    if (command == "bench") return parse_bench_line(rest);
    if (command == "help" || command == "--help" || command == "-h") return parse_help(rest);
    if (command == "--version") {
        MIGRATE_TRY(expect_no_more(command, rest));
        return text_to_print(Command::kVersion, version_text());
    }
    if (command == "completion") {
        return parse_named_text(command, "the script of a shell", kShells, rest);
    }
    if (command == "man") return parse_generated(command, man_page(), rest);
    if (command == "schema") return parse_named_text(command, "a JSON schema", kSchemas, rest);
    if (command == "options-markdown") return parse_generated(command, options_page(), rest);
    if (command == "exit-codes-markdown") {
        return parse_generated(command, exit_codes_markdown(), rest);
    }
    return unknown_command(command);
}

std::optional<Settings> readable_settings(Arguments args) {
    const std::string_view command = args.empty() ? "" : args.front();
    if (command != "send" && command != "recv") return std::nullopt;
    Settings settings(command == "send" ? Side::kSend : Side::kRecv);
    const auto options = split_options(settings.side(), args.subspan(1));
    if (!options) {
        // The line cannot even be split, but one option can still be recognized.
        for (std::size_t at = 0; at < args.size(); ++at) {
            const std::string_view word = args[at];
            const std::string_view next = at + 1 < args.size() ? args[at + 1] : "";
            if (word == "--json") (void)settings.set("json", next == "off" ? "off" : "on");
            if (word.starts_with("--json=")) (void)settings.set("json", word.substr(7));
        }
        return settings;
    }
    for (const po::option& option : *options) {
        if (option.unregistered || option.value.empty()) continue;
        (void)(option.string_key == "config"
                   ? load_config_file(option.value.front(), settings)
                   : settings.set(option.string_key, option.value.front()));
    }
    return settings;
}

}  // namespace migrate::cli
