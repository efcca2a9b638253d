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

Status validate_repeat(const Settings& settings) {
    if (settings.get<"repeat">() == 0) return {};
    if (!settings.get<"qmp">().empty()) {
        return Error(ErrorKind::kUsage,
                     "repeat and qmp cannot be combined: QMP serves one migration only");
    }
    if (settings.get<"devices">().find("fd:") != std::string::npos) {
        return Error(ErrorKind::kUsage,
                     "repeat and devices=fd: cannot be combined: a descriptor can be read only "
                     "once; use file:");
    }
    return {};
}

Status validate_send(const Settings& settings) {
    MIGRATE_TRY(validate_repeat(settings));
    if (!settings.get<"accel-path">().empty() &&
        settings.get<"zero-page-detection", ZeroPageDetection>() != ZeroPageDetection::kDsaAccel) {
        return Error(ErrorKind::kUsage,
                     "accel-path has no effect: set zero-page-detection=dsa-accel too");
    }
    if (settings.get<"pause-before-switchover">() && settings.get<"qmp">().empty()) {
        return Error(ErrorKind::kUsage,
                     "pause-before-switchover waits for 'migrate-continue' on the QMP socket: set "
                     "the option qmp too");
    }
    return {};
}

Status validate_recv(const Settings& settings) { return validate_repeat(settings); }

}  // namespace

Settings::Settings(Side side) : side_(side) {
    for (std::size_t i = 0; i < kOptionCount; ++i) {
        auto value = parse_option(kOptions[i], kOptions[i].default_text);
        // A default that its own row does not allow is an error in the table.
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
