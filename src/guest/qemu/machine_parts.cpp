// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/machine_parts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>

#include "base/log.hpp"
#include "guest/qemu/answer_fields.hpp"
#include "guest/qemu/device_tree.hpp"
#include "guest/qemu/memory_layout.hpp"

namespace migrate::guest {
namespace {

using qmp::Json;

// Levels of the topology, from the outermost one. QEMU leaves out levels that its machine lacks.
constexpr std::array kLevels{"socket-id", "die-id",  "cluster-id",
                             "module-id", "core-id", "thread-id"};

// A CPU's number at each level, then its NUMA node and whether it is plugged.
struct Cpu {
    std::array<std::uint64_t, kLevels.size()> at{};
    std::optional<std::uint64_t> node{};
    bool plugged = false;
    std::string type{};
};

Cpu cpu_from(const Json& entry) {
    Cpu cpu{.plugged = !text_of(entry, "qom-path").empty(), .type = text_of(entry, "type")};
    const auto found = entry.is_object() ? entry.find("props") : entry.end();
    if (!entry.is_object() || found == entry.end()) return cpu;
    for (std::size_t i = 0; i < kLevels.size(); ++i) cpu.at[i] = number_of(*found, kLevels[i]);
    if (found->contains("node-id")) cpu.node = number_of(*found, "node-id");
    return cpu;
}

// "0-3, 6"
template <typename Wanted>
std::string numbers_of(const std::vector<Cpu>& cpus, const Wanted& wanted) {
    std::string text;
    for (std::size_t first = 0; first < cpus.size(); ++first) {
        if (!wanted(cpus[first])) continue;
        std::size_t last = first;
        while (last + 1 < cpus.size() && wanted(cpus[last + 1])) ++last;
        text += fmt::format("{}{}", text.empty() ? "" : ", ", first);
        if (last != first) text += fmt::format("-{}", last);
        first = last;
    }
    return text;
}

// "1 socket, 2 cores, 1 thread" of each level that has several, and of these three.
std::string topology_of(const std::vector<Cpu>& cpus) {
    std::string text;
    for (std::size_t i = 0; i < kLevels.size(); ++i) {
        std::set<std::uint64_t> numbers;
        for (const Cpu& cpu : cpus) numbers.insert(cpu.at[i]);
        const std::string_view level = kLevels[i];
        const bool always = level == "socket-id" || level == "core-id" || level == "thread-id";
        if (!always && numbers.size() < 2) continue;
        text += fmt::format("{}{}={}", text.empty() ? "" : ",", level.substr(0, level.size() - 3),
                            numbers.size());
    }
    return text;
}

// The same device under names that say how it is emulated.
std::string plain_type(std::string_view type) {
    for (const std::string_view suffix : {"-non-transitional", "-transitional"}) {
        if (type.ends_with(suffix)) type.remove_suffix(suffix.size());
    }
    if (type == "kvm-pit" || type == "kvm-i8259") return "isa-" + std::string(type.substr(4));
    return std::string(type);
}

// Devices of the board, off PCI, that have saved state and that an option switches on or off, or
// that QEMU adds unless -nodefaults is given.
bool is_optional_on_board(const TreeDevice& device) {
    constexpr std::array<std::string_view, 9> kTypes{"hpet",       "i8042",        "isa-pit",
                                                     "kvm-pit",    "isa-i8259",    "kvm-i8259",
                                                     "isa-serial", "isa-parallel", "isa-fdc"};
    constexpr std::array<std::string_view, 5> kBuses{"usb-bus", "SCSI", "IDE", "floppy-bus", "HDA"};
    return std::find(kTypes.begin(), kTypes.end(), device.type) != kTypes.end() ||
           std::find(kBuses.begin(), kBuses.end(), device.bus) != kBuses.end();
}

// Properties that the host, the guest or the disk's image decides, and not the state's format.
bool is_compared(std::string_view name) {
    constexpr auto kOthers = std::to_array<std::string_view>({"acpi-index",
                                                              "bootindex",
                                                              "busnr",
                                                              "class",
                                                              "cyls",
                                                              "discard_granularity",
                                                              "events",
                                                              "head",
                                                              "heads",
                                                              "ioeventfd",
                                                              "lcyls",
                                                              "lheads",
                                                              "lsecs",
                                                              "max-bytes",
                                                              "min_io_size",
                                                              "opt_io_size",
                                                              "period",
                                                              "refresh_rate",
                                                              "request-merging",
                                                              "rombar",
                                                              "romsize",
                                                              "secs",
                                                              "share-rw",
                                                              "xres",
                                                              "yres"});
    return !name.starts_with("x-") &&
           std::find(kOthers.begin(), kOthers.end(), name) == kOthers.end();
}

// Numbers and switches; a name or a path may differ between two hosts. Empty: not compared.
std::string plain_value(std::string_view name, const std::string& value) {
    if (value == "on" || value == "true") return "on";
    if (value == "off" || value == "false") return "off";
    const bool number = !value.empty() && value.find_first_not_of("-0123456789") == value.npos;
    // The size is not determined yet.
    if (!number || (name.ends_with("_block_size") && value == "0")) return {};
    return value;
}

MachinePart part_of(const TreeDevice& device, bool with_properties) {
    MachinePart part{.place = device.place, .type = plain_type(device.type), .name = device.id};
    if (!with_properties) return part;
    for (const auto& [name, value] : device.properties) {
        const std::string plain = is_compared(name) ? plain_value(name, value) : std::string();
        if (plain.empty() || part.properties.size() == kMaxPartProperties) continue;
        part.properties[name] = plain;
    }
    return part;
}

// Places of devices without an address are numbered.
void make_unique(std::vector<MachinePart>& parts) {
    std::map<std::string, int> seen;
    for (MachinePart& part : parts) {
        const int number = ++seen[part.place];
        if (number > 1) part.place += fmt::format(" #{}", number);
    }
}

std::vector<MachinePart> memory_parts(const Json& answer) {
    std::vector<MachinePart> parts;
    for (const MemoryDevice& device : parse_memory_devices(answer)) {
        MachinePart part{.place = fmt::format("memory backend '{}'", device.backend),
                         .type = device.name.substr(0, device.name.find(' ')),
                         .name = text_of(device.facts, "id")};
        for (const char* const key :
             {"addr", "memaddr", "slot", "node", "block-size", "max-size"}) {
            if (!device.facts.contains(key)) continue;
            part.properties[key] = std::to_string(number_of(device.facts, key));
        }
        parts.push_back(std::move(part));
    }
    return parts;
}

std::size_t bytes_of(const MachinePart& part, bool with_properties) {
    // Names of the keys, quotation marks and commas.
    std::size_t bytes = 64 + part.place.size() + part.type.size() + part.name.size();
    if (!with_properties) return bytes;
    for (const auto& [name, value] : part.properties) bytes += 6 + name.size() + value.size();
    return bytes;
}

const MachinePart* find_place(const std::vector<MachinePart>* machine, std::string_view place) {
    if (machine == nullptr) return nullptr;
    const auto found = std::find_if(machine->begin(), machine->end(),
                                    [&](const MachinePart& part) { return part.place == place; });
    return found == machine->end() ? nullptr : &*found;
}

// The model and the features of all CPUs, as those of the first one.
void add_cpu_model(Monitor& monitor, const std::string& first, MachinePart& cpus) {
    const auto type = monitor.ask("qom-get", {{"path", first}, {"property", "type"}});
    if (type && type->is_string()) cpus.type = type->get<std::string>();
    const auto words = monitor.ask("qom-get", {{"path", first}, {"property", "feature-words"}});
    if (words) add_cpu_features(*words, cpus);
}

void copy_cpu_model(const MachinePart& known, MachinePart& cpus) {
    cpus.type = known.type;
    for (const auto& [name, value] : known.properties) {
        if (name.starts_with(kCpuidPrefix)) cpus.properties[name] = value;
    }
}

Result<std::string> query_machine_type(Monitor& monitor) {
    MIGRATE_ASSIGN(const Json type,
                   monitor.ask("qom-get", {{"path", "/machine"}, {"property", "type"}}));
    std::string name = type.is_string() ? type.get<std::string>() : std::string();
    if (name.ends_with("-machine")) name.resize(name.size() - std::string_view("-machine").size());
    return name;
}

Result<MachinePart> query_cpus(Monitor& monitor, const MachinePart* known) {
    MachinePart cpus{.place = std::string(kCpusPlace), .type = {}, .name = {}};
    // Machines without pluggable CPUs refuse it.
    const auto slots = monitor.ask("query-hotpluggable-cpus");
    if (!slots && slots.error().kind() != ErrorKind::kPeer) return slots.error();
    if (slots) cpus = parse_cpus(*slots);
    MIGRATE_ASSIGN(const Json present, monitor.ask("query-cpus-fast"));
    cpus.properties["CPUs"] = std::to_string(present.size());
    const std::string first =
        present.is_array() && !present.empty() ? text_of(present.front(), "qom-path") : "";
    if (first.empty()) return cpus;
    if (known == nullptr) {
        add_cpu_model(monitor, first, cpus);
    } else {
        copy_cpu_model(*known, cpus);
    }
    return cpus;
}

Result<std::string> query_text(Monitor& monitor, const char* command) {
    MIGRATE_ASSIGN(const Json answer,
                   monitor.ask("human-monitor-command", {{"command-line", command}}));
    return answer.is_string() ? answer.get<std::string>() : std::string();
}

}  // namespace

MachinePart parse_cpus(const Json& answer) {
    std::vector<Cpu> cpus;
    for (const Json& entry : answer) cpus.push_back(cpu_from(entry));
    std::sort(cpus.begin(), cpus.end(),
              [](const Cpu& one, const Cpu& other) { return one.at < other.at; });
    MachinePart part{.place = std::string(kCpusPlace), .type = {}, .name = {}};
    if (cpus.empty()) return part;
    part.type = cpus.front().type;
    part.properties["topology"] = topology_of(cpus);
    part.properties["present CPUs"] = numbers_of(cpus, [](const Cpu& cpu) { return cpu.plugged; });
    std::set<std::uint64_t> nodes;
    for (const Cpu& cpu : cpus) {
        if (cpu.node) nodes.insert(*cpu.node);
    }
    for (const std::uint64_t node : nodes) {
        part.properties[fmt::format("CPUs of NUMA node {}", node)] =
            numbers_of(cpus, [node](const Cpu& cpu) { return cpu.node == node; });
    }
    return part;
}

void add_cpu_features(const Json& words, MachinePart& cpus) {
    // Bits that the topology determines. QEMU before 9.0 sets them when the guest reads them.
    constexpr std::uint64_t kThreads = std::uint64_t{1} << 28;       // CPUID 1, EDX: HTT
    constexpr std::uint64_t kLegacyThreads = std::uint64_t{1} << 1;  // 0x80000001, ECX
    for (const Json& word : words) {
        const std::uint64_t leaf = number_of(word, "cpuid-input-eax");
        const std::string cpu_register = text_of(word, "cpuid-register");
        std::uint64_t bits = number_of(word, "features");
        if (leaf == 1 && cpu_register == "EDX") bits &= ~kThreads;
        if (leaf == 0x80000001 && cpu_register == "ECX") bits &= ~kLegacyThreads;
        if (bits == 0 || cpus.properties.size() >= kMaxPartProperties) continue;
        std::string name = fmt::format("{}{:#x}", kCpuidPrefix, leaf);
        const std::uint64_t leaf_part = number_of(word, "cpuid-input-ecx");
        if (leaf_part != 0) name += fmt::format(".{}", leaf_part);
        cpus.properties[name + " " + cpu_register] = fmt::format("{:#x}", bits);
    }
}

AddedDevices parse_added(const Json& named, const Json& anonymous) {
    constexpr std::string_view kChild = "child<";
    const auto type_of = [kChild](const Json& entry) {
        const std::string type = text_of(entry, "type");
        return type.starts_with(kChild) && type.ends_with('>')
                   ? type.substr(kChild.size(), type.size() - kChild.size() - 1)
                   : std::string();
    };
    AddedDevices added;
    for (const Json& entry : named) {
        if (const std::string type = type_of(entry); !type.empty()) {
            added.by_id[text_of(entry, "name")] = type;
        }
    }
    for (const Json& entry : anonymous) {
        if (std::string type = type_of(entry); !type.empty()) {
            added.without_id.push_back(std::move(type));
        }
    }
    return added;
}

std::vector<MachinePart> parse_devices(std::string_view tree, const AddedDevices& added) {
    std::vector<MachinePart> parts;
    std::map<std::string, std::string> named = added.by_id;
    std::vector<std::string> anonymous = added.without_id;
    for (const TreeDevice& device : parse_device_tree(tree)) {
        const bool by_id = !device.id.empty() && named.erase(device.id) != 0;
        const bool by_type =
            device.id.empty() && std::find(added.without_id.begin(), added.without_id.end(),
                                           device.type) != added.without_id.end();
        if (by_type) std::erase(anonymous, device.type);
        if (by_id || by_type || device.is_pci() || is_optional_on_board(device)) {
            parts.push_back(part_of(device, by_id || by_type));
        }
    }
    // Devices without a bus. Memory devices are listed by QEMU in another way.
    const auto add = [&parts](const std::string& type, const std::string& id) {
        if (type == "pc-dimm" || type == "nvdimm" || type.ends_with("-cpu")) return;
        parts.push_back({.place = "no bus/" + type, .type = type, .name = id});
    };
    for (const auto& [id, type] : named) add(type, id);
    for (const std::string& type : anonymous) add(type, {});
    make_unique(parts);
    return parts;
}

std::vector<MachinePart> within_limits(std::vector<MachinePart> machine) {
    std::size_t bytes = 0;
    for (const MachinePart& part : machine) bytes += bytes_of(part, false);
    if (bytes > kMaxMachineBytes || machine.size() > kMaxMachineParts) {
        log::warning(
            "the guest's machine has {} parts, too many to be described to the other side: its "
            "devices are not compared before memory moves",
            machine.size());
        return {};
    }
    std::size_t left_out = 0;
    for (MachinePart& part : machine) {
        const std::size_t more = bytes_of(part, true) - bytes_of(part, false);
        if (bytes + more > kMaxMachineBytes) {
            part.properties.clear();
            ++left_out;
        } else {
            bytes += more;
        }
    }
    if (left_out != 0) {
        log::warning("{} of the guest's {} devices are compared by type and address alone",
                     left_out, machine.size());
    }
    return machine;
}

Result<std::vector<MachinePart>> query_machine(Monitor& monitor,
                                               const std::vector<RamBlock>* blocks,
                                               const std::vector<MachinePart>* known) {
    std::vector<MachinePart> machine;
    MachinePart board{.place = std::string(kMachinePlace), .type = {}, .name = {}};
    if (const MachinePart* const before = find_place(known, kMachinePlace)) {
        board.type = before->type;
    } else {
        MIGRATE_ASSIGN(board.type, query_machine_type(monitor));
    }
    machine.push_back(std::move(board));
    MIGRATE_ASSIGN(MachinePart cpus, query_cpus(monitor, find_place(known, kCpusPlace)));
    machine.push_back(std::move(cpus));
    MIGRATE_ASSIGN(const Json named, monitor.ask("qom-list", {{"path", "/machine/peripheral"}}));
    MIGRATE_ASSIGN(const Json anonymous,
                   monitor.ask("qom-list", {{"path", "/machine/peripheral-anon"}}));
    MIGRATE_ASSIGN(const std::string tree, query_text(monitor, "info qtree"));
    if (tree.find("bus: ") == std::string::npos) {
        log::warning("QEMU does not list its devices (info qtree): they are not compared");
    } else {
        machine.front().properties[std::string(kDevicesListed)] = "yes";
        auto devices = parse_devices(tree, parse_added(named, anonymous));
        machine.insert(machine.end(), devices.begin(), devices.end());
    }
    MIGRATE_ASSIGN(const Json memory, monitor.ask("query-memory-devices"));
    for (MachinePart& part : memory_parts(memory)) machine.push_back(std::move(part));
    if (blocks != nullptr) {
        for (const RamBlock& block : *blocks) {
            machine.push_back({.place = fmt::format("RAM block '{}'", block.name),
                               .type = {},
                               .name = {},
                               .properties = {{"page size", std::to_string(block.page_bytes)}}});
        }
    }
    return within_limits(std::move(machine));
}

}  // namespace migrate::guest
