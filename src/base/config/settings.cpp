#include "base/config/settings.hpp"

#include <cstdlib>
#include <vector>

#include "base/join_words.hpp"

namespace migrate {
namespace {

Status check_required(const Settings& settings) {
    std::vector<std::string> missing;
    for (std::size_t i = 0; i < kOptionCount; ++i) {
        const Option& option = kOptions[i];
        if (!option.required || !option_applies(option, settings.side())) continue;
        if (!settings.value(i).text.empty()) continue;
        missing.push_back(fmt::format("--{} {}", option.key, value_name_of(option)));
    }
    if (missing.empty()) return {};
    return make_error(ErrorKind::kUsage, "'{}' needs {}", command_name(settings.side()),
                      join_words(missing, "and"));
}

// Each of them replaces what the file held: the same path twice would lose one of the two.
Status check_written_once(std::string_view key_a, const std::string& path_a, std::string_view key_b,
                          const std::string& path_b) {
    if (path_a.empty() || path_a != path_b) return {};
    return make_error(ErrorKind::kUsage, "options {} and {} both write to '{}'", key_a, key_b,
                      path_a);
}

Status validate_reports(const Settings& settings) {
    return check_written_once("stats", settings.get<"stats">(), "events", settings.get<"events">());
}

Status validate_repeat(const Settings& settings) {
    if (settings.get<"repeat">() == 0) return {};
    if (!settings.get<"qmp">().empty()) {
        return Error(ErrorKind::kUsage, "repeat and qmp: QMP serves one migration, not many");
    }
    if (settings.get<"devices">().find("fd:") != std::string::npos) {
        return Error(ErrorKind::kUsage, "repeat and fd: a descriptor can be read only once");
    }
    return {};
}

Status validate_send(const Settings& settings) {
    MIGRATE_TRY(validate_repeat(settings));
    if (!settings.get<"accel-path">().empty() &&
        settings.get<"zero-page-detection">() != "dsa-accel") {
        return Error(
            ErrorKind::kUsage,
            "accel-path names devices that nobody asks: set zero-page-detection=dsa-accel, "
            "too");
    }
    if (settings.get<"pause-before-switchover">() && settings.get<"qmp">().empty()) {
        return Error(ErrorKind::kUsage,
                     "pause-before-switchover waits for 'migrate-continue' on the qmp socket: set "
                     "the option qmp, too");
    }
    return validate_reports(settings);
}

Status validate_recv(const Settings& settings) {
    MIGRATE_TRY(validate_repeat(settings));
    const std::string& port_file = settings.get<"port-file">();
    MIGRATE_TRY(check_written_once("port-file", port_file, "stats", settings.get<"stats">()));
    MIGRATE_TRY(check_written_once("port-file", port_file, "events", settings.get<"events">()));
    return validate_reports(settings);
}

}  // namespace

Settings::Settings(Side side) : side_(side) {
    for (std::size_t i = 0; i < kOptionCount; ++i) {
        auto value = parse_option(kOptions[i], kOptions[i].default_text);
        // A default that its own row does not allow is a broken table.
        if (!value) std::abort();
        entries_[i].value = *std::move(value);
    }
}

Status Settings::set(std::string_view key, std::string_view text, Origin origin) {
    MIGRATE_ASSIGN(const std::size_t index, find_option_for(key, side_));
    MIGRATE_ASSIGN(OptionValue value, parse_option(kOptions[index], text));
    Entry& entry = entries_[index];
    if (origin >= entry.origin) entry = {std::move(value), origin};
    return {};
}

Status validate(const Settings& settings) {
    MIGRATE_TRY(check_required(settings));
    return settings.side() == Side::kSend ? validate_send(settings) : validate_recv(settings);
}

}  // namespace migrate
