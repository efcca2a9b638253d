// SPDX-License-Identifier: Apache-2.0
#include "transport/accept.hpp"

#include "base/limits.hpp"
#include "transport/message_json.hpp"
#include "transport/protocol_error.hpp"

namespace migrate::transport {

namespace {

Result<std::vector<std::string>> read_warnings(const MessageJson& json) {
    std::vector<std::string> warnings;
    const auto found = json.find("warnings");
    if (found == json.end()) return warnings;
    const auto refuse = [] {
        return protocol_error(
            fmt::format("'warnings' is not a list of at most {} texts", kMaxWarnings));
    };
    if (!found->is_array() || found->size() > kMaxWarnings) return refuse();
    for (const MessageJson& warning : *found) {
        if (!warning.is_string()) return refuse();
        warnings.push_back(printable(warning.get<std::string>(), kMaxWarning));
    }
    return warnings;
}

}  // namespace

std::string encode(const Accept& message) {
    MessageJson json = {{"session", to_hex(message.session)},
                        {"program", message.program},
                        {"sink", message.sink},
                        {"multifd-device-state", message.device_state ? "on" : "off"}};
    if (message.most_channels) json["most-channels"] = *message.most_channels;
    if (message.checksums) json["packet-checksum"] = *message.checksums ? "on" : "off";
    if (message.reuse_key) json["reuse-key"] = to_hex(*message.reuse_key);
    write_timeout(json, kIoTimeoutKey, message.io_timeout);
    write_timeout(json, kReconnectTimeoutKey, message.reconnect_timeout);
    for (const std::string& warning : message.warnings)
        json["warnings"].push_back(printable(warning, kMaxWarning));
    return dump(json);
}

Result<Accept> decode_accept(std::string_view body) {
    MIGRATE_ASSIGN(const MessageJson json, parse_object(body, "the acceptance"));
    Accept accept;
    accept.program = text_or_empty(json, "program", 64);
    accept.sink = text_or_empty(json, "sink", 1024);
    accept.device_state = text_or_empty(json, "multifd-device-state", 32) == "on";
    if (json.contains("most-channels")) {
        MIGRATE_ASSIGN(const auto most, read_number(json, "most-channels", 1, kMaxChannels));
        accept.most_channels = static_cast<std::uint16_t>(most);
    }
    if (json.contains("packet-checksum")) {
        accept.checksums = text_or_empty(json, "packet-checksum", 32) == "on";
    }
    if (json.contains("reuse-key")) {
        ReuseKey key{};
        MIGRATE_TRY(
            from_hex(text_or_empty(json, "reuse-key", 2 * key.size() + 1), "reuse-key", key));
        accept.reuse_key = key;
    }
    MIGRATE_ASSIGN(accept.io_timeout, read_timeout(json, kIoTimeoutKey));
    MIGRATE_ASSIGN(accept.reconnect_timeout, read_timeout(json, kReconnectTimeoutKey));
    MIGRATE_ASSIGN(accept.warnings, read_warnings(json));
    MIGRATE_ASSIGN(accept.session, session_from_hex(text_or_empty(json, "session", 64)));
    return accept;
}

}  // namespace migrate::transport
