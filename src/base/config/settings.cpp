// SPDX-License-Identifier: Apache-2.0
#include "base/config/settings.hpp"

#include <algorithm>
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
        const std::size_t instead = find_option(option.instead);
        if (instead < kOptionCount && !settings.value(instead).text.empty()) continue;
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

Status validate_psk(const Settings& settings, const ParsedForm& creds) {
    const Words<kPskWords> words(creds);
    if (words.has<"new">() && settings.side() == Side::kSend) {
        return Error(ErrorKind::kUsage,
                     "tls-creds psk:new= makes a key at the receiver: copy its file here, and give "
                     "psk:FILE");
    }
    if (words.has<"new">() == creds.operand.given) {
        return Error(ErrorKind::kUsage,
                     settings.side() == Side::kRecv
                         ? "tls-creds psk: needs either a file of keys, psk:FILE, or psk:new=FILE"
                         : "tls-creds psk: needs a file of keys: psk:FILE");
    }
    return {};
}

Status validate_tls(const Settings& settings) {
    const std::string& text = settings.get<"tls-creds">();
    std::string_view kind = "none";
    if (!text.empty()) {
        MIGRATE_ASSIGN(const ParsedForm creds, parse_form_of<"tls-creds">(text));
        kind = creds.form->name;
        if (creds.is("psk")) MIGRATE_TRY(validate_psk(settings, creds));
    }
    const std::string& allowed = settings.get<"tls-authz">();
    // Without a pattern, every peer with valid credentials is allowed.
    if (!allowed.empty() && allowed.find_first_not_of(' ') == std::string::npos) {
        return Error(ErrorKind::kUsage, "tls-authz has no pattern: name a peer, or leave it out");
    }
    if (kind == "none" && !allowed.empty()) {
        return Error(ErrorKind::kUsage,
                     "tls-authz has no effect without TLS: set tls-creds to x509:DIR or psk:FILE");
    }
    if (settings.get<"tls-hostname">().empty()) return {};
    if (kind != "x509") {
        return Error(ErrorKind::kUsage,
                     "tls-hostname has no effect without certificates: set tls-creds to x509:DIR");
    }
    if (settings.side() == Side::kRecv && settings.get<"repeat">() == 0) {
        return Error(ErrorKind::kUsage,
                     "tls-hostname has an effect at the side that connects: give it at the sender "
                     "(a receiver connects with repeat only)");
    }
    return {};
}

Status validate_send(const Settings& settings) {
    MIGRATE_TRY(validate_repeat(settings));
    const std::size_t paths =
        split_list(settings.get<"connect">()).size() + split_list(settings.get<"path">()).size();
    if (settings.get<"repeat">() != 0 && paths > 1) {
        return Error(ErrorKind::kUsage,
                     "repeat and several paths cannot be combined: the way back has one path");
    }
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

Status validate_recv(const Settings& settings) {
    const auto addresses = split_list(settings.get<"listen">());
    const bool passed = std::find(addresses.begin(), addresses.end(), "systemd") != addresses.end();
    if (passed && addresses.size() > 1) {
        return Error(ErrorKind::kUsage,
                     "listen=systemd takes the socket that the service manager passed, and no "
                     "further address: leave the others out");
    }
    if (passed && settings.get<"listen-mptcp">()) {
        return Error(
            ErrorKind::kUsage,
            "listen-mptcp has no effect with listen=systemd: the service manager makes the "
            "socket (SocketProtocol=mptcp)");
    }
    return validate_repeat(settings);
}

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
    MIGRATE_TRY(validate_tls(settings));
    if (settings.get<"quiet">() && settings.get<"verbose">()) {
        return Error(ErrorKind::kUsage,
                     "quiet and verbose cannot be combined: stats writes all figures to a file");
    }
    return settings.side() == Side::kSend ? validate_send(settings) : validate_recv(settings);
}

}  // namespace migrate
