// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/preload/tree.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace migrate::accel::softdsa::preload {
namespace {

struct Prefix {
    std::string_view text;
    Kind kind;
};
// The prefixes of a device's members; "D.N" follows.
constexpr std::array kPrefixes{Prefix{"wq", Kind::kQueue}, Prefix{"group", Kind::kGroup},
                               Prefix{"engine", Kind::kEngine}};

// Parses "D.N" after a part's prefix.
bool parse_numbers(std::string_view text, Part& part) {
    const std::size_t dot = text.find('.');
    if (dot == std::string_view::npos) return false;
    const auto device = parse_number(text.substr(0, dot));
    const auto number = parse_number(text.substr(dot + 1));
    if (!device || !number) return false;
    part.device = *device;
    part.number = *number;
    return true;
}

}  // namespace

Part Part::whole(std::size_t device) {
    return {Kind::kDevice, "dsa" + std::to_string(device), device, 0};
}

Part Part::member(Kind kind, std::size_t device, std::size_t number) {
    const auto* const prefix = std::ranges::find(kPrefixes, kind, &Prefix::kind);
    std::string name(prefix->text);
    name += std::to_string(device) + "." + std::to_string(number);
    return {kind, std::move(name), device, number};
}

std::optional<Part> Part::parse(std::string_view name) {
    Part part;
    part.name = name;
    for (const auto& [prefix, kind] : kPrefixes) {
        part.kind = kind;
        if (name.starts_with(prefix) && parse_numbers(name.substr(prefix.size()), part))
            return part;
    }
    if (name == "idxd" || name == "user" || name == "dmaengine") {
        part.kind = Kind::kDriver;
        return part;
    }
    const auto device = name.starts_with("dsa") ? parse_number(name.substr(3)) : std::nullopt;
    if (!device) return std::nullopt;
    part.kind = Kind::kDevice;
    part.device = *device;
    return part;
}

std::string Tree::folder(const Part& part) const {
    if (part.kind == Kind::kDriver) return control_ + "/drivers/" + part.name;
    std::string device = file("dsa" + std::to_string(part.device));
    return part.kind == Kind::kDevice ? device : device + "/" + part.name;
}

std::optional<AttributeName> Tree::name_of(std::string_view path) {
    const std::size_t end = path.rfind('/');
    if (end == std::string_view::npos || end == 0) return std::nullopt;
    const std::size_t begin = path.rfind('/', end - 1);
    if (begin == std::string_view::npos) return std::nullopt;
    const auto part = Part::parse(path.substr(begin + 1, end - begin - 1));
    if (!part) return std::nullopt;
    return AttributeName{*part, std::string(path.substr(end + 1))};
}

}  // namespace migrate::accel::softdsa::preload
