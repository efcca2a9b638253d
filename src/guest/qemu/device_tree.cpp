// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/device_tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>

namespace migrate::guest {
namespace {

constexpr std::string_view kDevice = "dev: ";
constexpr std::string_view kId = ", id \"";
constexpr std::string_view kBus = "bus: ";
constexpr std::string_view kBusKind = "type ";
constexpr std::string_view kValue = " = ";
// A USB device's line: "addr 0.1, port 1, speed 480, …".
constexpr std::string_view kUsbAddress = "addr ";
constexpr std::string_view kPort = ", port ";
// More nesting than any real machine has.
constexpr std::size_t kMaxDepth = 64;

struct Bus {
    std::string name;
    std::string kind;
    std::optional<std::size_t> owner;  // index of the device that has the bus
};
struct Node {
    TreeDevice device;
    std::size_t bus = 0;
    std::string port;       // of a USB device
    std::size_t buses = 0;  // that it has
};

std::string_view unquoted(std::string_view text) {
    if (text.size() >= 2 && text.front() == '"') {
        return text.substr(1, std::min(text.find('"', 1), text.size()) - 1);
    }
    return text.substr(0, text.find(" ("));
}

class Tree {
  public:
    void take(std::string_view line) {
        const std::size_t indent = line.find_first_not_of(' ');
        if (indent == line.npos) return;
        const std::string_view text = line.substr(indent);
        if (text.starts_with(kDevice) || text.starts_with(kBus)) {
            while (!open_.empty() && open_.back().indent >= indent) open_.pop_back();
            if (open_.size() >= kMaxDepth) return;
            text.starts_with(kBus) ? add_bus(indent, text) : add_device(indent, text);
        } else if (!open_.empty() && open_.back().indent < indent) {
            open_.back().is_bus ? describe_bus(text) : describe_device(text);
        }
    }

    std::vector<TreeDevice> devices() {
        std::vector<TreeDevice> found;
        for (Node& node : nodes_) {
            if (is_inner(node)) {
                auto& outer = nodes_[*buses_[node.bus].owner].device.properties;
                outer.insert(node.device.properties.begin(), node.device.properties.end());
            }
            node.device.bus = buses_[node.bus].kind;
            node.device.place = place_of(node);
        }
        for (Node& node : nodes_) {
            if (!is_inner(node)) found.push_back(std::move(node.device));
        }
        return found;
    }

  private:
    struct Open {
        std::size_t indent = 0;
        bool is_bus = false;
        std::size_t index = 0;
    };

    void add_bus(std::size_t indent, std::string_view text) {
        Bus bus{.name = std::string(text.substr(kBus.size())), .kind = {}, .owner = {}};
        if (!open_.empty() && !open_.back().is_bus) {
            bus.owner = open_.back().index;
            ++nodes_[*bus.owner].buses;
        }
        buses_.push_back(std::move(bus));
        open_.push_back({indent, true, buses_.size() - 1});
    }

    void add_device(std::size_t indent, std::string_view text) {
        if (open_.empty() || !open_.back().is_bus) return;
        const std::string_view rest = text.substr(kDevice.size());
        const std::size_t comma = std::min(rest.find(kId), rest.size());
        Node node;
        node.bus = open_.back().index;
        node.device.type = rest.substr(0, comma);
        if (comma != rest.size()) node.device.id = unquoted(rest.substr(comma + kId.size() - 1));
        nodes_.push_back(std::move(node));
        open_.push_back({indent, false, nodes_.size() - 1});
    }

    void describe_bus(std::string_view text) {
        if (text.starts_with(kBusKind)) {
            buses_[open_.back().index].kind = text.substr(kBusKind.size());
        }
    }

    void describe_device(std::string_view text) {
        Node& node = nodes_[open_.back().index];
        const std::size_t equals = text.find(kValue);
        if (equals != text.npos) {
            node.device.properties.emplace(text.substr(0, equals),
                                           unquoted(text.substr(equals + kValue.size())));
        } else if (const std::size_t port = text.find(kPort);
                   text.starts_with(kUsbAddress) && port != text.npos) {
            const std::string_view number = text.substr(port + kPort.size());
            node.port = number.substr(0, number.find(','));
        }
    }

    // A virtio device is alone on the bus of its transport.
    bool is_inner(const Node& node) const {
        const Bus& bus = buses_[node.bus];
        return bus.owner && bus.name == "virtio-bus";
    }

    static std::string address_of(const Node& node) {
        const auto& properties = node.device.properties;
        const auto value = [&](const char* key) {
            const auto found = properties.find(key);
            return found == properties.end() ? std::string() : found->second;
        };
        if (!node.port.empty()) return "port " + node.port;
        if (!value("scsi-id").empty()) {
            return fmt::format("{}:{}:{}", value("channel"), value("scsi-id"), value("lun"));
        }
        constexpr std::array kAddresses{"addr", "nr", "unit", "iobase", "address", "cad"};
        for (const char* const key : kAddresses) {
            const std::string found = value(key);
            if (found.empty()) continue;
            return std::string_view(key) == "addr" ? found : fmt::format("{} {}", key, found);
        }
        return {};
    }

    // The text has at most kMaxDepth levels.
    // NOLINTNEXTLINE(misc-no-recursion)
    std::string place_of(const Node& node) const {
        const Bus& bus = buses_[node.bus];
        std::string above = bus.name;
        if (bus.owner) {
            const Node& owner = nodes_[*bus.owner];
            if (is_inner(node)) return place_of(owner);
            if (is_inner(owner) || !address_of(owner).empty()) {
                above = place_of(owner);
                if (owner.buses > 1) above += "/" + bus.name;
            }
        }
        const std::string address = address_of(node);
        return above + "/" + (address.empty() ? node.device.type : address);
    }

    std::vector<Node> nodes_;
    std::vector<Bus> buses_;
    std::vector<Open> open_;  // from the root to the last device or bus
};

}  // namespace

std::vector<TreeDevice> parse_device_tree(std::string_view text) {
    Tree tree;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.ends_with('\r')) line.remove_suffix(1);
        tree.take(line);
    }
    return tree.devices();
}

}  // namespace migrate::guest
