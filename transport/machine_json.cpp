// SPDX-License-Identifier: Apache-2.0
#include "transport/machine_json.hpp"

#include "transport/protocol_error.hpp"

namespace migrate::transport {
namespace {

Result<MachinePart> part_from(const MessageJson& entry) {
    if (!entry.is_object()) return protocol_error("a part of the machine is not an object");
    MachinePart part{.place = text_or_empty(entry, "place", kMaxPartTextBytes),
                     .type = text_or_empty(entry, "type", kMaxPartTextBytes),
                     .name = text_or_empty(entry, "name", kMaxPartTextBytes)};
    if (part.place.empty()) return protocol_error("a part of the machine has no place");
    const auto found = entry.find("properties");
    if (found == entry.end()) return part;
    if (!found->is_object() || found->size() > kMaxPartProperties) {
        return protocol_error(
            fmt::format("the properties of a part of the machine are not an object of at most {}",
                        kMaxPartProperties));
    }
    for (const auto& property : found->items()) {
        if (!property.value().is_string()) {
            return protocol_error("a property of a part of the machine is not a string");
        }
        part.properties[printable(property.key(), kMaxPartTextBytes)] =
            printable(property.value().get<std::string>(), kMaxPartTextBytes);
    }
    return part;
}

}  // namespace

MessageJson machine_json(const std::vector<MachinePart>& machine) {
    MessageJson list = MessageJson::array();
    for (const MachinePart& part : machine) {
        MessageJson entry = {{"place", part.place}, {"type", part.type}};
        if (!part.name.empty()) entry["name"] = part.name;
        if (!part.properties.empty()) entry["properties"] = part.properties;
        list.push_back(std::move(entry));
    }
    return list;
}

Result<std::vector<MachinePart>> machine_from(const MessageJson& offer) {
    std::vector<MachinePart> machine;
    const auto found = offer.find("machine");
    if (found == offer.end()) return machine;
    if (!found->is_array() || found->size() > kMaxMachineParts) {
        return protocol_error(
            fmt::format("'machine' is not a list of at most {} parts", kMaxMachineParts));
    }
    for (const MessageJson& entry : *found) {
        MIGRATE_ASSIGN(MachinePart part, part_from(entry));
        machine.push_back(std::move(part));
    }
    return machine;
}

}  // namespace migrate::transport
