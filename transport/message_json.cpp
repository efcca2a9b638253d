// SPDX-License-Identifier: Apache-2.0
#include "transport/message_json.hpp"

#include <algorithm>

#include "transport/protocol_error.hpp"

namespace migrate::transport {
namespace {

constexpr std::uint64_t kMaxTimeoutMs = 86'400'000;

}  // namespace

Result<MessageJson> parse_object(std::string_view body, std::string_view what) {
    MessageJson json = MessageJson::parse(body.begin(), body.end(), nullptr, false);
    if (!json.is_object()) return protocol_error(fmt::format("{} is not a JSON object", what));
    return json;
}

Result<std::uint64_t> read_number(const MessageJson& json, const char* key, std::uint64_t min,
                                  std::uint64_t max) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_number_unsigned()) {
        return protocol_error(fmt::format("'{}' is missing or not a number", key));
    }
    const auto value = found->get<std::uint64_t>();
    if (value < min || value > max) {
        return protocol_error(
            fmt::format("'{}' is {}, which is out of range {} … {}", key, value, min, max));
    }
    return value;
}

Result<std::optional<std::chrono::milliseconds>> read_timeout(const MessageJson& json,
                                                              const char* key) {
    std::optional<std::chrono::milliseconds> timeout;
    if (!json.contains(key)) return timeout;
    MIGRATE_ASSIGN(const std::uint64_t ms, read_number(json, key, 1, kMaxTimeoutMs));
    timeout = std::chrono::milliseconds(ms);
    return timeout;
}

void write_timeout(MessageJson& json, const char* key,
                   std::optional<std::chrono::milliseconds> timeout) {
    if (timeout) json[key] = timeout->count();
}

std::string printable(std::string text, std::size_t limit) {
    if (text.size() > limit) text.resize(limit);
    std::replace_if(
        text.begin(), text.end(),
        [](char c) {
            return static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7F;
        },
        '?');
    return text;
}

std::string text_or_empty(const MessageJson& json, const char* key, std::size_t limit) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_string()) return {};
    return printable(found->get<std::string>(), limit);
}

std::string dump(const MessageJson& json) {
    return json.dump(-1, ' ', false, MessageJson::error_handler_t::replace);
}

}  // namespace migrate::transport
