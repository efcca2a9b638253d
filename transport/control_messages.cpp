// SPDX-License-Identifier: Apache-2.0
#include "transport/control_messages.hpp"

#include "base/limits.hpp"
#include "transport/message_json.hpp"
#include "transport/protocol_error.hpp"

namespace migrate::transport {
namespace {

constexpr std::size_t kMaxReasonBytes = 512;
// Larger than any timeout, and far below the point where sums overflow.
constexpr std::uint64_t kMaxMicroseconds = std::uint64_t{1} << 42;

MessageJson to_json(const PageCounts& pages) {
    return {{"normal", pages.normal}, {"zero", pages.zero}, {"unpopulated", pages.unpopulated}};
}

Result<PageCounts> pages_from(const MessageJson& json) {
    const auto found = json.find("pages");
    if (found == json.end() || !found->is_object()) return protocol_error("'pages' is missing");
    PageCounts pages;
    MIGRATE_ASSIGN(pages.normal, read_number(*found, "normal", 0, UINT64_MAX));
    MIGRATE_ASSIGN(pages.zero, read_number(*found, "zero", 0, UINT64_MAX));
    MIGRATE_ASSIGN(pages.unpopulated, read_number(*found, "unpopulated", 0, UINT64_MAX));
    return pages;
}

// Reads true or false; false if there is no such key.
Result<bool> read_flag(const MessageJson& json, const char* key) {
    const auto found = json.find(key);
    if (found == json.end()) return false;
    if (found->is_boolean()) return found->get<bool>();
    return protocol_error(fmt::format("'{}' is neither true nor false", key));
}

constexpr const char* kHandedOver = "handed-over";
constexpr const char* kLost = "lost";
constexpr const char* kDirtyRate = "dirty-pages-rate";

// The list of lost channels; null if there is none.
Result<const MessageJson*> lost_list(const MessageJson& json) {
    const auto found = json.find(kLost);
    if (found == json.end()) return static_cast<const MessageJson*>(nullptr);
    if (found->is_array() && found->size() <= kMaxChannelIds) return &*found;
    return protocol_error(fmt::format("'lost' is not a list of at most {}", kMaxChannelIds));
}

void write_lost(MessageJson& json, const std::vector<std::uint16_t>& lost) {
    if (!lost.empty()) json[kLost] = lost;
}

Result<std::vector<std::uint16_t>> read_lost(const MessageJson& json) {
    std::vector<std::uint16_t> lost;
    MIGRATE_ASSIGN(const MessageJson* const list, lost_list(json));
    if (list == nullptr) return lost;
    for (const MessageJson& id : *list) {
        if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= kMaxChannelIds) {
            return protocol_error("a lost channel has no valid id");
        }
        lost.push_back(id.get<std::uint16_t>());
    }
    return lost;
}

}  // namespace

std::string encode(const RoundMark& message) {
    MessageJson json = {{"round", message.round}, {"pages", message.pages}};
    write_lost(json, message.lost);
    if (message.dirty_rate != 0) json[kDirtyRate] = message.dirty_rate;
    return dump(json);
}

Result<RoundMark> decode_round_mark(std::string_view body) {
    MIGRATE_ASSIGN(const MessageJson json, parse_object(body, "the round's mark"));
    MIGRATE_ASSIGN(const std::uint64_t round, read_number(json, "round", 1, UINT32_MAX));
    RoundMark mark{.round = static_cast<std::uint32_t>(round)};
    MIGRATE_ASSIGN(mark.pages, read_number(json, "pages", 0, UINT64_MAX));
    MIGRATE_ASSIGN(mark.lost, read_lost(json));
    if (json.contains(kDirtyRate)) {
        MIGRATE_ASSIGN(mark.dirty_rate, read_number(json, kDirtyRate, 0, UINT64_MAX));
    }
    return mark;
}

std::string encode(const LoadTime& message) { return dump({{"load-us", message.microseconds}}); }

Result<LoadTime> decode_load_time(std::string_view body) {
    MIGRATE_ASSIGN(const MessageJson json, parse_object(body, "the time of loading"));
    LoadTime time;
    MIGRATE_ASSIGN(time.microseconds, read_number(json, "load-us", 0, kMaxMicroseconds));
    return time;
}

std::string encode(const PauseTime& message) {
    if (!message.microseconds) return dump(MessageJson::object());
    return dump({{"paused-us", *message.microseconds}});
}

Result<PauseTime> decode_pause_time(std::string_view body) {
    MIGRATE_ASSIGN(const MessageJson json, parse_object(body, "the time of the pause"));
    PauseTime time;
    if (!json.contains("paused-us")) return time;
    MIGRATE_ASSIGN(time.microseconds, read_number(json, "paused-us", 0, kMaxMicroseconds));
    return time;
}

std::string encode(const Ready& message) { return dump({{"prepared-us", message.prepared_us}}); }

Result<Ready> decode_ready(std::string_view body) {
    MIGRATE_ASSIGN(const MessageJson json, parse_object(body, "READY"));
    Ready ready;
    if (!json.contains("prepared-us")) return ready;
    MIGRATE_ASSIGN(ready.prepared_us, read_number(json, "prepared-us", 0, kMaxMicroseconds));
    return ready;
}

std::string encode(const ChannelCount& message) {
    MessageJson json = {{"channels", message.channels}};
    if (!message.reason.empty()) json["reason"] = message.reason;
    write_lost(json, message.lost);
    return dump(json);
}

Result<ChannelCount> decode_channel_count(std::string_view body) {
    MIGRATE_ASSIGN(const MessageJson json, parse_object(body, "the number of channels"));
    MIGRATE_ASSIGN(const std::uint64_t channels, read_number(json, "channels", 1, kMaxChannelIds));
    ChannelCount count{.channels = static_cast<std::uint16_t>(channels),
                       .reason = text_or_empty(json, "reason", kMaxReasonBytes)};
    MIGRATE_ASSIGN(count.lost, read_lost(json));
    return count;
}

std::string encode(const RoundBreak& message) {
    MessageJson lost = MessageJson::array();
    for (const LostChannel& one : message.lost) {
        lost.push_back(
            {{"channel", one.channel}, {"bytes", one.bytes}, {"pages", to_json(one.pages)}});
    }
    return dump({{"round", message.round}, {"arrived", message.arrived}, {kLost, lost}});
}

Result<RoundBreak> decode_round_break(std::string_view body) {
    MIGRATE_ASSIGN(const MessageJson json, parse_object(body, "ROUND_BROKEN"));
    RoundBreak broken;
    MIGRATE_ASSIGN(const std::uint64_t round, read_number(json, "round", 1, UINT32_MAX));
    broken.round = static_cast<std::uint32_t>(round);
    MIGRATE_ASSIGN(broken.arrived, read_number(json, "arrived", 0, UINT64_MAX));
    MIGRATE_ASSIGN(const MessageJson* const list, lost_list(json));
    if (list == nullptr || list->empty()) return protocol_error("ROUND_BROKEN names no channel");
    for (const MessageJson& entry : *list) {
        if (!entry.is_object()) return protocol_error("a lost channel is not an object");
        LostChannel one;
        MIGRATE_ASSIGN(const auto id, read_number(entry, "channel", 0, kMaxChannelIds - 1));
        one.channel = static_cast<std::uint16_t>(id);
        MIGRATE_ASSIGN(one.bytes, read_number(entry, "bytes", 0, UINT64_MAX));
        MIGRATE_ASSIGN(one.pages, pages_from(entry));
        broken.lost.push_back(one);
    }
    return broken;
}

std::string encode(const Resume& message) {
    MessageJson json = {{"round", message.round}, {"sizes", message.sizes}};
    if (message.handed_over) json[kHandedOver] = true;
    return dump(json);
}

Result<Resume> decode_resume(std::string_view body) {
    MIGRATE_ASSIGN(const MessageJson json, parse_object(body, "RESUME"));
    MIGRATE_ASSIGN(const std::uint64_t round, read_number(json, "round", 0, UINT32_MAX));
    Resume resume{.round = static_cast<std::uint32_t>(round)};
    const auto sizes = json.find("sizes");
    if (sizes == json.end() || !sizes->is_array()) return protocol_error("'sizes' is no list");
    for (const MessageJson& size : *sizes) {
        if (!size.is_number_unsigned()) return protocol_error("a region has no valid size");
        resume.sizes.push_back(size.get<std::uint64_t>());
    }
    MIGRATE_ASSIGN(resume.handed_over, read_flag(json, kHandedOver));
    return resume;
}

std::string encode(const Resumed& message) {
    MessageJson json = {
        {"round", message.round}, {"complete", message.complete}, {"channels", message.channels}};
    if (message.load) json["load-us"] = message.load->microseconds;
    if (message.loaded) json["loaded"] = true;
    if (message.handed_over) json[kHandedOver] = true;
    return dump(json);
}

Result<Resumed> decode_resumed(std::string_view body) {
    MIGRATE_ASSIGN(const MessageJson json, parse_object(body, "RESUMED"));
    MIGRATE_ASSIGN(const std::uint64_t round, read_number(json, "round", 0, UINT32_MAX));
    MIGRATE_ASSIGN(const std::uint64_t channels, read_number(json, "channels", 1, kMaxChannelIds));
    Resumed resumed{.round = static_cast<std::uint32_t>(round),
                    .channels = static_cast<std::uint16_t>(channels)};
    const auto complete = json.find("complete");
    if (complete == json.end() || !complete->is_boolean()) {
        return protocol_error("'complete' is neither true nor false");
    }
    resumed.complete = complete->get<bool>();
    if (round == 0 && !resumed.complete) return protocol_error("round 0 cannot go on");
    if (json.contains("load-us")) {
        MIGRATE_ASSIGN(resumed.load, decode_load_time(body));
    }
    MIGRATE_ASSIGN(resumed.loaded, read_flag(json, "loaded"));
    MIGRATE_ASSIGN(resumed.handed_over, read_flag(json, kHandedOver));
    if (resumed.loaded && !resumed.complete) {
        return protocol_error("a guest is loaded although its last round is not complete");
    }
    if (resumed.handed_over && !resumed.loaded) {
        return protocol_error("a guest that is not loaded cannot be handed over");
    }
    return resumed;
}

std::string encode(const Completion& message) {
    MessageJson json = {{"pages", to_json(message.pages)}, {"digests", message.digests}};
    if (message.missing) json["missing"] = *message.missing;
    return dump(json);
}

Result<Completion> decode_completion(std::string_view body) {
    MIGRATE_ASSIGN(const MessageJson json, parse_object(body, "the completion"));
    Completion completion;
    MIGRATE_ASSIGN(completion.pages, pages_from(json));
    const auto digests = json.find("digests");
    if (digests == json.end() || !digests->is_array() || digests->size() > kMaxRegions) {
        return protocol_error("'digests' is not a list");
    }
    for (const MessageJson& digest : *digests) {
        if (!digest.is_string()) return protocol_error("a digest is not a string");
        completion.digests.push_back(printable(digest.get<std::string>(), 64));
    }
    if (json.contains("missing")) {
        MIGRATE_ASSIGN(completion.missing, read_number(json, "missing", 0, UINT64_MAX));
    }
    return completion;
}

std::string encode(const Done& message) {
    return dump({{"pages", to_json(message.pages)},
                 {"resume-us", message.resume_us},
                 {"downtime-us", message.downtime_us},
                 {"devices-us", message.devices_us}});
}

Result<Done> decode_done(std::string_view body) {
    MIGRATE_ASSIGN(const MessageJson json, parse_object(body, "the acknowledgement"));
    Done done;
    MIGRATE_ASSIGN(done.pages, pages_from(json));
    MIGRATE_ASSIGN(done.resume_us, read_number(json, "resume-us", 0, kMaxMicroseconds));
    MIGRATE_ASSIGN(done.downtime_us, read_number(json, "downtime-us", 0, kMaxMicroseconds));
    if (json.contains("devices-us")) {
        MIGRATE_ASSIGN(done.devices_us, read_number(json, "devices-us", 0, kMaxMicroseconds));
    }
    return done;
}

std::string encode(const Failure& message) {
    MessageJson json = {
        {"cancelled", message.cancelled}, {"reason", message.reason}, {"outcome", message.outcome}};
    if (message.guest_runs) json["guest-runs"] = *message.guest_runs;
    return dump(json);
}

Failure decode_failure(std::string_view body) {
    // Default: not known. A guest that may run at the peer must not run here.
    Failure failure{false, "the peer gave no reason", std::nullopt, {}};
    const MessageJson json = MessageJson::parse(body.begin(), body.end(), nullptr, false);
    if (!json.is_object()) return failure;
    const auto cancelled = json.find("cancelled");
    failure.cancelled =
        cancelled != json.end() && cancelled->is_boolean() && cancelled->get<bool>();
    const auto runs = json.find("guest-runs");
    if (runs != json.end() && runs->is_boolean()) failure.guest_runs = runs->get<bool>();
    std::string reason = text_or_empty(json, "reason", 1024);
    if (!reason.empty()) failure.reason = std::move(reason);
    failure.outcome = text_or_empty(json, "outcome", 32);
    return failure;
}

}  // namespace migrate::transport
