// SPDX-License-Identifier: Apache-2.0
#include "lib/library_options.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "base/config/option_lookup.hpp"
#include "lib/given_source.hpp"

namespace migrate::lib {
namespace {

constexpr std::array<std::string_view, 20> kOfTheProgram{
    "source",  "sink",    "port-file", "quit-source",  "reuse",   "resume",   "repeat",
    "qmp",     "run-for", "progress",  "json",         "events",  "quiet",    "return-listen",
    "verbose", "stats",   "metrics",   "metrics-file", "sandbox", "log-level"};

struct NameAndValue {
    std::string_view name;
    std::string_view value;
};

Result<NameAndValue> split(std::string_view text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0) {
        return make_error(ErrorKind::kUsage, "'{}' is not NAME=VALUE", text);
    }
    const NameAndValue parts{text.substr(0, equals), text.substr(equals + 1)};
    if (find_option(parts.name) != kOptionCount && !is_library_option(parts.name)) {
        return make_error(ErrorKind::kUsage,
                          "option {} is one of the program 'migrate', and has no effect in the "
                          "library",
                          parts.name);
    }
    return parts;
}

}  // namespace

bool is_library_option(std::string_view key) {
    return std::find(kOfTheProgram.begin(), kOfTheProgram.end(), key) == kOfTheProgram.end();
}

Status set_library_option(Settings& settings, std::string_view text) {
    MIGRATE_ASSIGN(const NameAndValue parts, split(text));
    return settings.set(parts.name, parts.value);
}

Status change_library_option(Settings& settings, std::string_view text) {
    MIGRATE_ASSIGN(const NameAndValue parts, split(text));
    MIGRATE_ASSIGN(const std::size_t index, find_option_for(parts.name, settings.side()));
    if (!kOptions[index].live) {
        return make_error(ErrorKind::kUsage, "option {} cannot change while a migration runs",
                          parts.name);
    }
    return settings.set(parts.name, parts.value);
}

Status validate_for_library(Settings settings) {
    const bool sends = settings.side() == Side::kSend;
    const bool has_address =
        sends ? !settings.get<"connect">().empty() || !settings.get<"path">().empty()
              : !settings.get<"listen">().empty();
    if (!has_address) {
        return make_error(ErrorKind::kUsage, "set the option {}=HOST:PORT",
                          sends ? "connect" : "listen");
    }
    MIGRATE_TRY(settings.set(sends ? "source" : "sink", kDescription));
    // The program can be continued by QMP only; the library has migrate_continue().
    if (sends) MIGRATE_TRY(settings.set("pause-before-switchover", "off"));
    return validate(settings);
}

SettingValues library_values(const Settings& settings) {
    SettingValues values = setting_values(settings);
    std::erase_if(values, [](const auto& value) { return !is_library_option(value.first); });
    return values;
}

}  // namespace migrate::lib
