#include "transport/handshake.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "transport/protocol_error.hpp"

namespace migrate::transport {
namespace {

using Json = nlohmann::json;

// Features that a receiver needs to read this sender's stream, by name; see PROTOCOL.md.
constexpr std::string_view kFeatures[] = {"multifd", "run-list"};
// Needed in addition if a guest is to continue at the receiver.
constexpr std::string_view kGuestFeature = "guest";
// Needed if devices other than the guest's own state are to arrive, on any channel.
constexpr std::string_view kDevicesFeature = "devices";
// Needed if devices must come on the data channels.
constexpr std::string_view kDeviceStateFeature = "device-state";
// Needed if the guest is to come back, once or several times.
constexpr std::string_view kReturnFeature = "return";
constexpr std::string_view kOptionalFeatures[] = {kGuestFeature, kDevicesFeature,
                                                  kDeviceStateFeature, kReturnFeature};

constexpr std::size_t kMaxDeviceWords = 1024;
constexpr std::size_t kMaxOptionText = 64;  // bytes of a name or a value in a journey

constexpr const char* kIoTimeout = "io-timeout";
constexpr std::uint64_t kMaxIoTimeoutMs = 86'400'000;

// Larger than any timeout, and far below the point where sums overflow.
constexpr std::uint64_t kMaxMicroseconds = std::uint64_t{1} << 42;

Result<Json> parse_object(std::string_view body, std::string_view what) {
    Json json = Json::parse(body.begin(), body.end(), nullptr, false);
    if (!json.is_object()) return protocol_error(fmt::format("{} is not a JSON object", what));
    return json;
}

Result<std::uint64_t> number(const Json& json, const char* key, std::uint64_t min,
                             std::uint64_t max) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_number_unsigned()) {
        return protocol_error(fmt::format("'{}' is missing or not a number", key));
    }
    const auto value = found->get<std::uint64_t>();
    if (value < min || value > max) {
        return protocol_error(
            fmt::format("'{}' is {}; {} to {} are possible here", key, value, min, max));
    }
    return value;
}

Result<std::optional<std::chrono::milliseconds>> io_timeout_from(const Json& json) {
    std::optional<std::chrono::milliseconds> timeout;
    if (!json.contains(kIoTimeout)) return timeout;
    MIGRATE_ASSIGN(const std::uint64_t ms, number(json, kIoTimeout, 1, kMaxIoTimeoutMs));
    timeout = std::chrono::milliseconds(ms);
    return timeout;
}

// The peer's text ends up in logs and terminals, so it is limited to printable ASCII and to `limit`
// bytes.
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

std::string text_or_empty(const Json& json, const char* key, std::size_t limit) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_string()) return {};
    return printable(found->get<std::string>(), limit);
}

// Replaces text that is not UTF-8 (for example a path) instead of throwing.
std::string dump(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json to_json(const PageCounts& pages) {
    return {{"normal", pages.normal}, {"zero", pages.zero}, {"unpopulated", pages.unpopulated}};
}

Result<PageCounts> pages_from(const Json& json) {
    const auto found = json.find("pages");
    if (found == json.end() || !found->is_object()) return protocol_error("'pages' is missing");
    PageCounts pages;
    MIGRATE_ASSIGN(pages.normal, number(*found, "normal", 0, UINT64_MAX));
    MIGRATE_ASSIGN(pages.zero, number(*found, "zero", 0, UINT64_MAX));
    MIGRATE_ASSIGN(pages.unpopulated, number(*found, "unpopulated", 0, UINT64_MAX));
    return pages;
}

Status check_features(const Json& json) {
    const auto found = json.find("features");
    if (found == json.end() || !found->is_array()) return protocol_error("'features' is missing");
    for (const Json& feature : *found) {
        const std::string name =
            feature.is_string() ? printable(feature.get<std::string>(), 64) : "?";
        const auto among = [&name](const auto& names) {
            return std::find(std::begin(names), std::end(names), name) != std::end(names);
        };
        if (!among(kFeatures) && !among(kOptionalFeatures)) {
            return protocol_error(
                fmt::format("the sender needs the feature '{}', which this receiver does not have: "
                            "update the receiver, or switch the feature off at the sender",
                            name));
        }
    }
    return {};
}

Result<std::vector<RegionInfo>> regions_from(const Json& json) {
    const auto found = json.find("regions");
    if (found == json.end() || !found->is_array() || found->empty() ||
        found->size() > kMaxRegions) {
        return protocol_error(fmt::format("'regions' is not a list of 1 to {}", kMaxRegions));
    }
    std::vector<RegionInfo> regions;
    std::uint64_t total = 0;
    for (const Json& entry : *found) {
        if (!entry.is_object()) return protocol_error("a region is not an object");
        RegionInfo region;
        region.name = text_or_empty(entry, "name", 255);
        if (region.name.empty()) return protocol_error("a region has no name");
        // 2^52 bytes is the most physical memory that x86-64 can address.
        MIGRATE_ASSIGN(region.size_bytes, number(entry, "size", kPageSize, std::uint64_t{1} << 52));
        MIGRATE_TRY(number(entry, "page-size", kPageSize, kPageSize));
        if (region.size_bytes % kPageSize != 0) {
            return protocol_error(
                fmt::format("region '{}': {} bytes is not a multiple of the page size {}",
                            region.name, region.size_bytes, kPageSize));
        }
        total += region.size_bytes;
        if (total > std::uint64_t{1} << 52)
            return protocol_error("the regions' sizes add up to too much");
        regions.push_back(std::move(region));
    }
    return regions;
}

constexpr std::size_t kBootIdBytes = 36;

Status files_from(const Json& json, Offer& offer) {
    const auto host = json.find("boot-id");
    if (host == json.end()) return {};
    if (!host->is_string()) return protocol_error("'boot-id' is not a string");
    const auto& id = host->get_ref<const std::string&>();
    // Empty: the sender has files but cannot identify its host.
    if ((!id.empty() && id.size() != kBootIdBytes) ||
        id.find_first_not_of("0123456789abcdef-") != std::string::npos) {
        return protocol_error("'boot-id' is not 36 hex digits and hyphens");
    }
    offer.boot_id = id;
    // Each region is an object: regions_from() has checked that.
    for (const Json& region : json["regions"]) {
        std::optional<FileIdentity> file;
        if (region.contains("device") || region.contains("inode")) {
            file.emplace();
            MIGRATE_ASSIGN(file->device, number(region, "device", 0, UINT64_MAX));
            MIGRATE_ASSIGN(file->inode, number(region, "inode", 0, UINT64_MAX));
        }
        offer.files.push_back(file);
    }
    return {};
}

Json to_json(const std::vector<OfferedDevice>& devices) {
    Json list = Json::array();
    for (const OfferedDevice& device : devices) {
        list.push_back({{"name", device.name},
                        {"instance", device.instance},
                        {"kind", device.kind},
                        {"words", device.words}});
    }
    return list;
}

Result<std::vector<OfferedDevice>> devices_from(const Json& json) {
    std::vector<OfferedDevice> devices;
    const auto found = json.find("devices");
    if (found == json.end()) return devices;
    if (!found->is_array() || found->size() > kMaxDevices) {
        return protocol_error(fmt::format("'devices' is not a list of at most {}", kMaxDevices));
    }
    for (const Json& entry : *found) {
        if (!entry.is_object()) return protocol_error("a device is not an object");
        OfferedDevice device;
        device.name = text_or_empty(entry, "name", kMaxDeviceNameBytes);
        device.kind = text_or_empty(entry, "kind", 32);
        device.words = text_or_empty(entry, "words", kMaxDeviceWords);
        if (device.name.empty()) return protocol_error("a device has no name");
        MIGRATE_ASSIGN(const std::uint64_t instance, number(entry, "instance", 0, UINT32_MAX));
        device.instance = static_cast<std::uint32_t>(instance);
        devices.push_back(std::move(device));
    }
    return devices;
}

Result<Journey> journey_from(const Json& json) {
    Journey journey;
    const auto found = json.find("journey");
    if (found == json.end()) return journey;
    if (!found->is_object()) return protocol_error("'journey' is not an object");
    MIGRATE_ASSIGN(const std::uint64_t legs, number(*found, "legs", 1, UINT32_MAX));
    MIGRATE_ASSIGN(const std::uint64_t leg, number(*found, "leg", 1, legs));
    MIGRATE_ASSIGN(const std::uint64_t port, number(*found, "return-port", 0, UINT16_MAX));
    journey.legs = static_cast<std::uint32_t>(legs);
    journey.leg = static_cast<std::uint32_t>(leg);
    journey.return_port = static_cast<std::uint16_t>(port);
    const auto options = found->find("options");
    if (options == found->end()) return journey;
    if (!options->is_object() || options->size() > kMaxJourneyOptions) {
        return protocol_error(
            fmt::format("'options' is not an object of at most {}", kMaxJourneyOptions));
    }
    for (const auto& option : options->items()) {
        if (!option.value().is_string()) return protocol_error("an option's value is not a string");
        journey.options[printable(option.key(), kMaxOptionText)] =
            printable(option.value().get<std::string>(), kMaxOptionText);
    }
    return journey;
}

}  // namespace

std::string_view name_of(DeviceStateMode mode) {
    switch (mode) {
        case DeviceStateMode::kAuto:
            return "auto";
        case DeviceStateMode::kOn:
            return "on";
        case DeviceStateMode::kOff:
            return "off";
    }
    return "off";
}

Result<DeviceStateMode> device_state_mode_from_name(std::string_view name) {
    for (const auto mode : {DeviceStateMode::kAuto, DeviceStateMode::kOn, DeviceStateMode::kOff}) {
        if (name == name_of(mode)) return mode;
    }
    return protocol_error(fmt::format("multifd-device-state '{}' is not known here", name));
}

std::string encode(const Offer& message) {
    Json regions = Json::array();
    for (const RegionInfo& region : message.regions) {
        regions.push_back(
            {{"name", region.name}, {"size", region.size_bytes}, {"page-size", kPageSize}});
    }
    for (std::size_t i = 0; i < std::min(message.files.size(), message.regions.size()); ++i) {
        if (!message.files[i]) continue;
        regions[i]["device"] = message.files[i]->device;
        regions[i]["inode"] = message.files[i]->inode;
    }
    Json features = kFeatures;
    if (!message.guest.empty()) features.push_back(kGuestFeature);
    const auto is_guests = [](const OfferedDevice& device) { return device.kind == "guest"; };
    if (!std::all_of(message.devices.begin(), message.devices.end(), is_guests)) {
        features.push_back(kDevicesFeature);
    }
    if (message.device_state == DeviceStateMode::kOn) features.push_back(kDeviceStateFeature);
    Json json = {{"program", message.program},
                 {"guest", message.guest},
                 {"regions", std::move(regions)},
                 {"multifd-channels", message.channels},
                 {"multifd-packet-size", message.packet_bytes},
                 {"multifd-compression", name_of(message.compression)},
                 {"verify", message.verify ? "digest" : "none"},
                 {"devices", to_json(message.devices)},
                 {"multifd-device-state", name_of(message.device_state)}};
    if (!message.files.empty()) json["boot-id"] = message.boot_id;
    if (message.journey.leg != 0) {
        features.push_back(kReturnFeature);
        json["journey"] = {{"leg", message.journey.leg},
                           {"legs", message.journey.legs},
                           {"return-port", message.journey.return_port},
                           {"options", message.journey.options}};
    }
    if (message.io_timeout) json[kIoTimeout] = message.io_timeout->count();
    json["features"] = std::move(features);
    return dump(json);
}

Result<Offer> decode_offer(std::string_view body) {
    MIGRATE_ASSIGN(const Json json, parse_object(body, "the offer"));
    MIGRATE_TRY(check_features(json));
    Offer offer;
    offer.program = text_or_empty(json, "program", 64);
    MIGRATE_ASSIGN(offer.regions, regions_from(json));
    MIGRATE_ASSIGN(const std::uint64_t channels, number(json, "multifd-channels", 1, kMaxChannels));
    offer.channels = static_cast<std::uint16_t>(channels);
    MIGRATE_ASSIGN(offer.packet_bytes,
                   number(json, "multifd-packet-size", kMinPacketBytes, kMaxPacketBytes));
    if (offer.packet_bytes % kPageSize != 0) {
        return protocol_error(
            fmt::format("'multifd-packet-size' is {}, not a multiple of the page size {}",
                        offer.packet_bytes, kPageSize));
    }
    const std::string compression = text_or_empty(json, "multifd-compression", 32);
    MIGRATE_ASSIGN(offer.compression, compression_from_name(compression));
    const std::string verify = text_or_empty(json, "verify", 32);
    if (verify != "none" && verify != "digest") {
        return protocol_error(
            fmt::format("'verify' is '{}', which this receiver does not know", verify));
    }
    offer.verify = verify == "digest";
    offer.guest = text_or_empty(json, "guest", 64);
    MIGRATE_ASSIGN(offer.devices, devices_from(json));
    // Offers of programs that do not know the key lack it.
    if (json.contains("multifd-device-state")) {
        MIGRATE_ASSIGN(offer.device_state, device_state_mode_from_name(
                                               text_or_empty(json, "multifd-device-state", 32)));
    }
    MIGRATE_ASSIGN(offer.journey, journey_from(json));
    MIGRATE_ASSIGN(offer.io_timeout, io_timeout_from(json));
    MIGRATE_TRY(files_from(json, offer));
    return offer;
}

std::string encode(const Accept& message) {
    Json json = {{"session", to_hex(message.session)},
                 {"program", message.program},
                 {"sink", message.sink},
                 {"multifd-device-state", message.device_state ? "on" : "off"}};
    if (message.io_timeout) json[kIoTimeout] = message.io_timeout->count();
    return dump(json);
}

Result<Accept> decode_accept(std::string_view body) {
    MIGRATE_ASSIGN(const Json json, parse_object(body, "the acceptance"));
    Accept accept;
    accept.program = text_or_empty(json, "program", 64);
    accept.sink = text_or_empty(json, "sink", 1024);
    accept.device_state = text_or_empty(json, "multifd-device-state", 32) == "on";
    MIGRATE_ASSIGN(accept.io_timeout, io_timeout_from(json));
    const std::string hex = text_or_empty(json, "session", 64);
    if (hex.size() != 2 * accept.session.size() ||
        hex.find_first_not_of("0123456789abcdef") != std::string::npos) {
        return protocol_error("the acceptance names no session");
    }
    for (std::size_t i = 0; i < accept.session.size(); ++i) {
        accept.session[i] = static_cast<std::byte>(std::stoul(hex.substr(2 * i, 2), nullptr, 16));
    }
    return accept;
}

std::string encode(const RoundMark& message) {
    return dump({{"round", message.round}, {"pages", message.pages}});
}

Result<RoundMark> decode_round_mark(std::string_view body) {
    MIGRATE_ASSIGN(const Json json, parse_object(body, "the round's mark"));
    MIGRATE_ASSIGN(const std::uint64_t round, number(json, "round", 1, UINT32_MAX));
    RoundMark mark{.round = static_cast<std::uint32_t>(round)};
    MIGRATE_ASSIGN(mark.pages, number(json, "pages", 0, UINT64_MAX));
    return mark;
}

std::string encode(const LoadTime& message) { return dump({{"load-us", message.microseconds}}); }

Result<LoadTime> decode_load_time(std::string_view body) {
    MIGRATE_ASSIGN(const Json json, parse_object(body, "the time of loading"));
    LoadTime time;
    MIGRATE_ASSIGN(time.microseconds, number(json, "load-us", 0, kMaxMicroseconds));
    return time;
}

std::string encode(const Completion& message) {
    return dump({{"pages", to_json(message.pages)}, {"digests", message.digests}});
}

Result<Completion> decode_completion(std::string_view body) {
    MIGRATE_ASSIGN(const Json json, parse_object(body, "the completion"));
    Completion completion;
    MIGRATE_ASSIGN(completion.pages, pages_from(json));
    const auto digests = json.find("digests");
    if (digests == json.end() || !digests->is_array() || digests->size() > kMaxRegions) {
        return protocol_error("'digests' is not a list");
    }
    for (const Json& digest : *digests) {
        if (!digest.is_string()) return protocol_error("a digest is not a string");
        completion.digests.push_back(printable(digest.get<std::string>(), 64));
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
    MIGRATE_ASSIGN(const Json json, parse_object(body, "the acknowledgement"));
    Done done;
    MIGRATE_ASSIGN(done.pages, pages_from(json));
    MIGRATE_ASSIGN(done.resume_us, number(json, "resume-us", 0, kMaxMicroseconds));
    MIGRATE_ASSIGN(done.downtime_us, number(json, "downtime-us", 0, kMaxMicroseconds));
    if (json.contains("devices-us")) {
        MIGRATE_ASSIGN(done.devices_us, number(json, "devices-us", 0, kMaxMicroseconds));
    }
    return done;
}

std::string encode(const Failure& message) {
    Json json = {
        {"cancelled", message.cancelled}, {"reason", message.reason}, {"outcome", message.outcome}};
    if (message.guest_runs) json["guest-runs"] = *message.guest_runs;
    return dump(json);
}

Failure decode_failure(std::string_view body) {
    // Default: not known. A guest that may run at the peer must not run here.
    Failure failure{false, "the peer gave no reason", std::nullopt, {}};
    const Json json = Json::parse(body.begin(), body.end(), nullptr, false);
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

std::string to_hex(const SessionId& session) {
    std::string hex;
    for (const std::byte byte : session)
        hex += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    return hex;
}

Result<SessionId> make_session_id() {
    SessionId session{};
    if (::getrandom(session.data(), session.size(), 0) != static_cast<ssize_t>(session.size())) {
        return Error::system("get random bytes for the session id", errno);
    }
    return session;
}

}  // namespace migrate::transport
