// SPDX-License-Identifier: Apache-2.0
#include "transport/offer.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "transport/control_frame.hpp"
#include "transport/features.hpp"
#include "transport/machine_json.hpp"
#include "transport/message_json.hpp"
#include "transport/protocol_error.hpp"

namespace migrate::transport {
namespace {

constexpr std::size_t kMaxDeviceWords = 1024;

Result<std::vector<RegionInfo>> regions_from(const MessageJson& json) {
    const auto found = json.find("regions");
    if (found == json.end() || !found->is_array() || found->empty() ||
        found->size() > kMaxRegions) {
        return protocol_error(fmt::format("'regions' is not a list of 1 to {}", kMaxRegions));
    }
    std::vector<RegionInfo> regions;
    std::uint64_t total = 0;
    for (const MessageJson& entry : *found) {
        if (!entry.is_object()) return protocol_error("a region is not an object");
        RegionInfo region;
        region.name = text_or_empty(entry, "name", 255);
        if (region.name.empty()) return protocol_error("a region has no name");
        // 2^52 bytes is the most physical memory that x86-64 can address.
        MIGRATE_ASSIGN(region.size_bytes,
                       read_number(entry, "size", kPageSize, std::uint64_t{1} << 52));
        MIGRATE_TRY(read_number(entry, "page-size", kPageSize, kPageSize));
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

Status files_from(const MessageJson& json, Offer& offer) {
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
    for (const MessageJson& region : json["regions"]) {
        std::optional<FileIdentity> file;
        if (region.contains("device") || region.contains("inode")) {
            file.emplace();
            MIGRATE_ASSIGN(file->device, read_number(region, "device", 0, UINT64_MAX));
            MIGRATE_ASSIGN(file->inode, read_number(region, "inode", 0, UINT64_MAX));
        }
        offer.files.push_back(file);
    }
    return {};
}

MessageJson to_json(const std::vector<OfferedDevice>& devices) {
    MessageJson list = MessageJson::array();
    for (const OfferedDevice& device : devices) {
        list.push_back({{"name", device.name},
                        {"instance", device.instance},
                        {"kind", device.kind},
                        {"words", device.words}});
    }
    return list;
}

Result<std::vector<OfferedDevice>> devices_from(const MessageJson& json) {
    std::vector<OfferedDevice> devices;
    const auto found = json.find("devices");
    if (found == json.end()) return devices;
    if (!found->is_array() || found->size() > kMaxDevices) {
        return protocol_error(fmt::format("'devices' is not a list of at most {}", kMaxDevices));
    }
    for (const MessageJson& entry : *found) {
        if (!entry.is_object()) return protocol_error("a device is not an object");
        OfferedDevice device;
        device.name = text_or_empty(entry, "name", kMaxDeviceNameBytes);
        device.kind = text_or_empty(entry, "kind", 32);
        device.words = text_or_empty(entry, "words", kMaxDeviceWords);
        if (device.name.empty()) return protocol_error("a device has no name");
        MIGRATE_ASSIGN(const std::uint64_t instance, read_number(entry, "instance", 0, UINT32_MAX));
        device.instance = static_cast<std::uint32_t>(instance);
        devices.push_back(std::move(device));
    }
    return devices;
}

// Reads an object of texts. `what` is its name in the message.
Result<std::map<std::string, std::string>> read_texts(const MessageJson& json, const char* what) {
    std::map<std::string, std::string> texts;
    const auto found = json.find(what);
    if (found == json.end()) return texts;
    if (!found->is_object() || found->size() > kMaxSettings) {
        return protocol_error(
            fmt::format("'{}' is not an object of at most {} entries", what, kMaxSettings));
    }
    for (const auto& entry : found->items()) {
        const std::string key = printable(entry.key(), kMaxSettingBytes);
        if (!entry.value().is_string()) {
            return protocol_error(fmt::format("'{}' in '{}' is not a string", key, what));
        }
        const auto& text = entry.value().get_ref<const std::string&>();
        if (entry.key().size() > kMaxSettingBytes || text.size() > kMaxSettingBytes) {
            return protocol_error(
                fmt::format("'{}' in '{}' has more than {} bytes", key, what, kMaxSettingBytes));
        }
        texts[key] = printable(text, kMaxSettingBytes);
    }
    return texts;
}

// A setting that the offer lacks has its default. A setting that this program does not know cannot
// be ignored: the sender relies on it.
Result<NegotiatedSettings> settings_from(const MessageJson& json) {
    MIGRATE_ASSIGN(const auto texts, read_texts(json, "settings"));
    NegotiatedSettings settings;
    for (const auto& [key, text] : texts) {
        if (Status set = settings.set(key, text); !set) {
            return protocol_error(
                fmt::format("the sender's setting {}={} cannot be used here: {}; update the "
                            "receiver, or change the option at the sender",
                            key, text, set.error().message()));
        }
    }
    return settings;
}

Result<Journey> journey_from(const MessageJson& json) {
    Journey journey;
    const auto found = json.find("journey");
    if (found == json.end()) return journey;
    if (!found->is_object()) return protocol_error("'journey' is not an object");
    MIGRATE_ASSIGN(const std::uint64_t legs, read_number(*found, "legs", 1, UINT32_MAX));
    MIGRATE_ASSIGN(const std::uint64_t leg, read_number(*found, "leg", 1, legs));
    MIGRATE_ASSIGN(const std::uint64_t port, read_number(*found, "return-port", 0, UINT16_MAX));
    journey.legs = static_cast<std::uint32_t>(legs);
    journey.leg = static_cast<std::uint32_t>(leg);
    journey.return_port = static_cast<std::uint16_t>(port);
    MIGRATE_ASSIGN(journey.options, read_texts(*found, "options"));
    return journey;
}

Result<DeviceStateMode> device_state_from(const MessageJson& json) {
    if (!json.contains("multifd-device-state")) return DeviceStateMode::kOff;
    const std::string name = text_or_empty(json, "multifd-device-state", 32);
    const auto mode = value_named<DeviceStateMode>(name);
    if (mode) return *mode;
    return protocol_error(fmt::format("'multifd-device-state' is '{}', not auto, on or off", name));
}

MessageJson regions_json(const Offer& offer) {
    MessageJson regions = MessageJson::array();
    for (const RegionInfo& region : offer.regions) {
        regions.push_back(
            {{"name", region.name}, {"size", region.size_bytes}, {"page-size", kPageSize}});
    }
    for (std::size_t i = 0; i < std::min(offer.files.size(), offer.regions.size()); ++i) {
        if (!offer.files[i]) continue;
        regions[i]["device"] = offer.files[i]->device;
        regions[i]["inode"] = offer.files[i]->inode;
    }
    return regions;
}

}  // namespace

std::string encode(const Offer& message) {
    MessageJson json = {{"program", message.program},
                        {"features", features_of(message)},
                        {"guest", message.guest},
                        {"regions", regions_json(message)},
                        {"settings", message.settings.changed()},
                        {"devices", to_json(message.devices)},
                        {"multifd-device-state", name_of(message.device_state)}};
    if (!message.guest_name.empty()) json["guest-name"] = message.guest_name;
    if (!message.files.empty()) json["boot-id"] = message.boot_id;
    if (!message.machine.empty()) json["machine"] = machine_json(message.machine);
    if (message.journey.leg != 0) {
        json["journey"] = {{"leg", message.journey.leg},
                           {"legs", message.journey.legs},
                           {"return-port", message.journey.return_port},
                           {"options", message.journey.options}};
    }
    write_timeout(json, kIoTimeoutKey, message.io_timeout);
    write_timeout(json, kReconnectTimeoutKey, message.reconnect_timeout);
    std::string body = dump(json);
    if (body.size() > kMaxFrameBody && json.erase("machine") != 0) {
        log::warning(
            "the guest's machine is too large to be described to the receiver: its devices are not "
            "compared before memory moves");
        body = dump(json);
    }
    return body;
}

Result<Offer> decode_offer(std::string_view body) {
    MIGRATE_ASSIGN(const MessageJson json, parse_object(body, "the offer"));
    MIGRATE_TRY(check_features(json));
    Offer offer;
    offer.program = text_or_empty(json, "program", 64);
    MIGRATE_ASSIGN(offer.regions, regions_from(json));
    MIGRATE_ASSIGN(offer.settings, settings_from(json));
    offer.guest = text_or_empty(json, "guest", 64);
    offer.guest_name = text_or_empty(json, "guest-name", kMaxGuestName);
    MIGRATE_ASSIGN(offer.devices, devices_from(json));
    MIGRATE_ASSIGN(offer.device_state, device_state_from(json));
    MIGRATE_ASSIGN(offer.journey, journey_from(json));
    MIGRATE_ASSIGN(offer.io_timeout, read_timeout(json, kIoTimeoutKey));
    MIGRATE_ASSIGN(offer.reconnect_timeout, read_timeout(json, kReconnectTimeoutKey));
    MIGRATE_TRY(files_from(json, offer));
    MIGRATE_ASSIGN(offer.machine, machine_from(json));
    return offer;
}

}  // namespace migrate::transport
