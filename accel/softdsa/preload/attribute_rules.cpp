// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/preload/attribute_rules.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <limits>

namespace migrate::accel::softdsa::preload {
namespace {

constexpr std::uint64_t kMost32 = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kMostRetries = 64;
constexpr std::size_t kLongestName = 1024;

// The values that an attribute accepts.
enum class Form : std::uint8_t {
    kNumber,      // from least to most
    kPower,       // likewise, rounded up to a power of two
    kSwitch,      // a boolean
    kGroup,       // -1, or the number of a group
    kName,        // a text that is not empty
    kMode,        // shared or dedicated
    kType,        // none, kernel or user
    kOperations,  // a subset of the device's op_cap
};

struct Rule {
    Kind kind;
    std::string_view attribute;
    Form form;
    std::uint64_t least = 0;
    std::uint64_t most = 0;
};

// Attributes with rules of their own have them in check() as well.
constexpr std::array kRules{
    Rule{Kind::kDevice, "read_buffer_limit", Form::kNumber, 0, 96},
    Rule{Kind::kDevice, "cmd_status", Form::kNumber, 0, kMost32},
    Rule{Kind::kDevice, "event_log_size", Form::kNumber, 0, kMost32},
    Rule{Kind::kQueue, "group_id", Form::kGroup},
    Rule{Kind::kQueue, "size", Form::kNumber, 0, kMostQueueSize},
    Rule{Kind::kQueue, "priority", Form::kNumber, 0, 15},
    Rule{Kind::kQueue, "block_on_fault", Form::kSwitch},
    Rule{Kind::kQueue, "threshold", Form::kNumber, 1, kMostQueueSize},
    Rule{Kind::kQueue, "max_batch_size", Form::kPower, 1, 1024},
    Rule{Kind::kQueue, "max_transfer_size", Form::kPower, 1, std::uint64_t{1} << 31U},
    Rule{Kind::kQueue, "mode", Form::kMode},
    Rule{Kind::kQueue, "type", Form::kType},
    Rule{Kind::kQueue, "name", Form::kName},
    Rule{Kind::kQueue, "driver_name", Form::kName},
    Rule{Kind::kQueue, "ats_disable", Form::kSwitch},
    Rule{Kind::kQueue, "prs_disable", Form::kSwitch},
    Rule{Kind::kQueue, "op_config", Form::kOperations},
    Rule{Kind::kQueue, "enqcmds_retries", Form::kNumber, 0, kMost32},
    Rule{Kind::kGroup, "read_buffers_reserved", Form::kNumber, 0, 96},
    Rule{Kind::kGroup, "read_buffers_allowed", Form::kNumber, 0, 96},
    Rule{Kind::kGroup, "use_read_buffer_limit", Form::kSwitch},
    Rule{Kind::kGroup, "traffic_class_a", Form::kNumber, 0, 7},
    Rule{Kind::kGroup, "traffic_class_b", Form::kNumber, 0, 7},
    Rule{Kind::kGroup, "desc_progress_limit", Form::kNumber, 0, 3},
    Rule{Kind::kGroup, "batch_progress_limit", Form::kNumber, 0, 3},
    Rule{Kind::kEngine, "group_id", Form::kGroup},
};

const Rule* find_rule(const AttributeName& name) {
    const auto* const found = std::ranges::find_if(kRules, [&](const Rule& rule) {
        return rule.kind == name.part.kind && rule.attribute == name.attribute;
    });
    return found == kRules.end() ? nullptr : found;
}

Part device_of(const Part& part) { return Part::whole(part.device); }

// Calls `use(part)` for all parts of a kind that the device has.
template <typename Use>
void for_each(const Tree& tree, const Part& device, Kind kind, const Use& use) {
    for (std::size_t i = 0;; ++i) {
        const Part part = Part::member(kind, device.device, i);
        if (!exists(tree.folder(part))) return;
        use(part);
    }
}

// Returns the names of the parts of a kind in a group, with blanks between them.
std::string members_of(const Tree& tree, const Part& group, Kind kind) {
    const std::string number = std::to_string(group.number);
    std::string names;
    for_each(tree, device_of(group), kind, [&](const Part& part) {
        if (tree.text(part, "group_id") != number) return;
        names += (names.empty() ? "" : " ") + part.name;
    });
    return names;
}

// The lists of a device's groups follow the groups of its queues and engines.
void list_members(const Tree& tree, const Part& device) {
    for_each(tree, device, Kind::kGroup, [&](const Part& group) {
        tree.set(group, "engines", members_of(tree, group, Kind::kEngine));
        tree.set(group, "work_queues", members_of(tree, group, Kind::kQueue));
    });
}

// Parses words of 32 bits in hexadecimal, with commas between them, the last one lowest. Returns
// those of a text with fewer words in the lowest places; nothing for any other text.
using Operations = std::array<std::uint32_t, 8>;
std::optional<Operations> parse_operations(std::string_view text) {
    Operations words{};
    for (auto word = words.rbegin(); word != words.rend(); ++word) {
        const std::size_t comma = text.rfind(',');
        const std::size_t begin = comma == std::string_view::npos ? 0 : comma + 1;
        const auto value = parse_number("0x" + std::string(text.substr(begin)));
        if (!value || *value > kMost32) return std::nullopt;
        *word = static_cast<std::uint32_t>(*value);
        if (begin == 0) return words;
        text = text.substr(0, comma);
    }
    return std::nullopt;
}

std::string text_of(const Operations& words) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (const std::uint32_t word : words) {
        if (!text.empty()) text += ',';
        for (unsigned shift = 32; shift != 0; shift -= 4)
            text += kDigits[word >> (shift - 4) & 0xfU];
    }
    return text;
}

// Sets `text` to the value as the attribute shows it. Returns 0 or EINVAL.
int normalize_operations(const Tree& tree, const Part& device, std::string& text) {
    const auto wanted = parse_operations(text);
    const auto possible = parse_operations(tree.text(device, "op_cap"));
    if (!wanted || !possible) return EINVAL;
    for (std::size_t i = 0; i < wanted->size(); ++i)
        if (((*wanted)[i] & ~(*possible)[i]) != 0) return EINVAL;
    text = text_of(*wanted);
    return 0;
}

int normalize_number(const Rule& rule, std::string& text) {
    auto value = parse_number(text);
    if (!value || *value < rule.least || *value > rule.most) return EINVAL;
    if (rule.form == Form::kPower) value = std::bit_ceil(*value);
    text = std::to_string(*value);
    return 0;
}

int normalize_switch(std::string& text) {
    const bool on = text == "1" || text == "y" || text == "Y" || text == "on";
    const bool off = text == "0" || text == "n" || text == "N" || text == "off";
    if (!on && !off) return EINVAL;
    text = on ? "1" : "0";
    return 0;
}

int normalize_group(const Tree& tree, const Part& device, std::string& text) {
    if (text == "-1") return 0;
    const auto number = parse_number(text);
    if (!number || *number >= tree.number(device, "max_groups")) return EINVAL;
    text = std::to_string(*number);
    return 0;
}

// Sets `text` to the value as the attribute shows it. Returns 0 or EINVAL.
int normalize(const Tree& tree, const Rule& rule, const Part& device, std::string& text) {
    switch (rule.form) {
        case Form::kNumber:
        case Form::kPower:
            return normalize_number(rule, text);
        case Form::kSwitch:
            return normalize_switch(text);
        case Form::kGroup:
            return normalize_group(tree, device, text);
        case Form::kName:
            return text.empty() || text.size() >= kLongestName ? EINVAL : 0;
        case Form::kMode:
            return text == "shared" || text == "dedicated" ? 0 : EINVAL;
        case Form::kType:
            return text == "none" || text == "kernel" || text == "user" ? 0 : EINVAL;
        case Form::kOperations:
            return normalize_operations(tree, device, text);
    }
    return EINVAL;
}

// The sizes of all queues of a device together have a limit.
bool fits(const Tree& tree, const Part& device, const Part& queue, std::uint64_t size) {
    std::uint64_t total = size;
    for_each(tree, device, Kind::kQueue, [&](const Part& other) {
        if (other.name != queue.name) total += tree.number(other, "size");
    });
    return total <= tree.number(device, "max_work_queues_size");
}

int check_queue(const Tree& tree, const AttributeName& name, const std::string& text) {
    const Part& queue = name.part;
    const Part device = device_of(queue);
    const std::string& attribute = name.attribute;
    const bool dedicated = tree.text(queue, "mode") == "dedicated";
    if (attribute == "enqcmds_retries") return dedicated ? EOPNOTSUPP : 0;
    const bool slow_error = attribute == "threshold" || attribute == "block_on_fault";
    if (tree.text(queue, "state") != "disabled") return slow_error ? ENXIO : EPERM;
    const std::uint64_t number = parse_number(text).value_or(0);
    if (attribute == "size") {
        if (tree.text(device, "state") == "enabled") return EPERM;
        if (!fits(tree, device, queue, number)) return EINVAL;
    }
    if (attribute == "threshold" && (dedicated || number > tree.number(queue, "size")))
        return EINVAL;
    const bool limited = attribute == "max_batch_size" || attribute == "max_transfer_size";
    if (limited && number > tree.number(device, attribute)) return EINVAL;
    if (attribute == "block_on_fault" && text == "1" && tree.text(queue, "prs_disable") == "1")
        return EOPNOTSUPP;
    return 0;
}

int check_group(const Tree& tree, const AttributeName& name, const std::string& text) {
    const Part device = device_of(name.part);
    if (tree.text(device, "state") == "enabled") return EPERM;
    // The traffic classes of these versions are fixed.
    if (name.attribute.starts_with("traffic_class")) return EPERM;
    if (name.attribute == "use_read_buffer_limit" && tree.text(device, "read_buffer_limit") == "0")
        return EPERM;
    if (name.attribute == "read_buffers_allowed") {
        std::uint64_t engines = 0;
        for_each(tree, device, Kind::kEngine, [&](const Part& engine) {
            if (tree.text(engine, "group_id") == std::to_string(name.part.number)) ++engines;
        });
        if (parse_number(text).value_or(0) < 4 * engines) return EINVAL;
    }
    return 0;
}

// Checks whether the attribute may get this value now. Returns 0 or an errno.
int check(const Tree& tree, const AttributeName& name, const std::string& text) {
    switch (name.part.kind) {
        case Kind::kQueue:
            return check_queue(tree, name, text);
        case Kind::kGroup:
            return check_group(tree, name, text);
        case Kind::kDevice:
            if (name.attribute == "event_log_size") return EOPNOTSUPP;
            if (name.attribute == "cmd_status") return 0;
            return tree.text(name.part, "state") == "enabled" ? EPERM : 0;
        case Kind::kEngine:
        case Kind::kDriver:
            return 0;
    }
    return 0;
}

// Changes what depends on the attribute.
void follow(const Tree& tree, const AttributeName& name, const std::string& before,
            const std::string& text) {
    if (name.attribute == "group_id") list_members(tree, device_of(name.part));
    if (name.attribute == "mode" && text == "dedicated") tree.set(name.part, "threshold", "0");
    if (name.attribute == "type" && text != before) tree.set(name.part, "name", "");
}

Groups::Group group_of(const Tree& tree, const Part& part) {
    const auto number = parse_number(tree.text(part, "group_id"));
    if (!number || *number >= kMostGroups) return std::nullopt;
    return static_cast<std::uint8_t>(*number);
}

std::uint32_t limited(const Tree& tree, const Part& part, const char* attribute,
                      std::uint64_t least, std::uint64_t most) {
    return static_cast<std::uint32_t>(std::clamp(tree.number(part, attribute), least, most));
}

}  // namespace

bool is_writable(const AttributeName& name) {
    if (name.part.kind == Kind::kDriver)
        return name.attribute == "bind" || name.attribute == "unbind";
    return find_rule(name) != nullptr;
}

int store_attribute(const Tree& tree, const AttributeName& name, std::string_view text) {
    const Rule* const rule = find_rule(name);
    if (rule == nullptr) return EACCES;
    std::string value(text);
    if (const int error = check(tree, name, value); error != 0) return error;
    if (const int error = normalize(tree, *rule, device_of(name.part), value); error != 0)
        return error;
    if (name.attribute == "enqcmds_retries")
        value = std::to_string(std::min(parse_number(value).value_or(0), kMostRetries));
    if (name.attribute == "cmd_status") value = "0x0";  // any write clears it
    const std::string before = tree.text(name.part, name.attribute);
    if (!tree.set(name.part, name.attribute, value)) return EACCES;
    follow(tree, name, before, value);
    return 0;
}

void clear_queue(const Tree& tree, const Part& queue) {
    constexpr std::array kDefaults{
        std::pair{"type", "none"},          std::pair{"name", ""},
        std::pair{"mode", "shared"},        std::pair{"threshold", "0"},
        std::pair{"priority", "0"},         std::pair{"block_on_fault", "0"},
        std::pair{"ats_disable", "0"},      std::pair{"prs_disable", "0"},
        std::pair{"max_batch_size", "32"},  std::pair{"max_transfer_size", "2097152"},
        std::pair{"enqcmds_retries", "32"}, std::pair{"cdev_minor", "-1"},
        std::pair{"state", "disabled"},
    };
    for (const auto& [attribute, value] : kDefaults) tree.set(queue, attribute, value);
    tree.set(queue, "op_config", tree.text(device_of(queue), "op_cap"));
}

void clear_device(const Tree& tree, const Part& device) {
    for_each(tree, device, Kind::kQueue, [&](const Part& queue) {
        clear_queue(tree, queue);
        tree.set(queue, "size", "0");
        tree.set(queue, "group_id", "-1");
        tree.set(queue, "driver_name", "");
    });
    for_each(tree, device, Kind::kEngine,
             [&](const Part& engine) { tree.set(engine, "group_id", "-1"); });
    for_each(tree, device, Kind::kGroup, [&](const Part& group) {
        tree.set(group, "read_buffers_reserved", "0");
        tree.set(group, "read_buffers_allowed", tree.text(device, "max_read_buffers"));
        tree.set(group, "use_read_buffer_limit", "0");
    });
    list_members(tree, device);
}

QueueConfig read_queue_config(const Tree& tree, const Part& queue) {
    const Part device = device_of(queue);
    QueueConfig config;
    if (tree.text(queue, "mode") == "dedicated") config.mode = dsa::QueueMode::kDedicated;
    config.size = limited(tree, queue, "size", 1, kMostQueueSize);
    config.threshold = limited(tree, queue, "threshold", 0, config.size);
    config.max_batch = limited(tree, queue, "max_batch_size", 1, 1024);
    config.max_transfer = limited(tree, queue, "max_transfer_size", 1, kMost32);
    config.block_on_fault = tree.text(queue, "block_on_fault") == "1";
    config.write_retries = limited(tree, queue, "enqcmds_retries", 0, kMostRetries);
    config.priority = limited(tree, queue, "priority", 1, 15);
    const bool first_version = tree.number(device, "version") == 0x100;
    config.refuse_batch_by_write = first_version;
    const Operations words = parse_operations(tree.text(queue, "op_config")).value_or(Operations{});
    config.operations = std::uint64_t{words[6]} << 32U | words[7];
    // Devices of the first version execute BATCH and do not list it.
    if (first_version) config.operations |= 1ULL << static_cast<unsigned>(dsa::Opcode::kBatch);
    return config;
}

Groups read_groups(const Tree& tree, const Part& device) {
    Groups groups;
    for_each(tree, device, Kind::kQueue, [&](const Part& queue) {
        if (queue.number < kMostQueues) groups.queues[queue.number] = group_of(tree, queue);
    });
    for_each(tree, device, Kind::kEngine, [&](const Part& engine) {
        if (engine.number < kMostEngines) groups.engines[engine.number] = group_of(tree, engine);
    });
    return groups;
}

}  // namespace migrate::accel::softdsa::preload
