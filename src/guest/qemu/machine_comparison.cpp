// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/machine_comparison.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>

#include "base/log.hpp"
#include "guest/qemu/machine_parts.hpp"

namespace migrate::guest {
namespace {

constexpr std::size_t kMostNamed = 6;

// The words for the two machines: "at the sender" and "here", or "before" and "now".
struct Sides {
    std::string_view first, second;
};
constexpr Sides kHosts{"at the sender", "here"};
constexpr Sides kTimes{"when the migration began", "now"};

class Differences {
  public:
    explicit Differences(Sides sides) : sides_(sides) {}

    void add(const std::string& difference) {
        if (++count_ > kMostNamed) return;
        text_ += (text_.empty() ? "" : "; ") + difference;
    }
    void add_values(std::string_view what, std::string_view first, std::string_view second) {
        add(fmt::format("{} is '{}' {} and '{}' {}", what, first, sides_.first, second,
                        sides_.second));
    }
    std::string text() const {
        if (count_ <= kMostNamed) return text_;
        return fmt::format("{}; and {} more", text_, count_ - kMostNamed);
    }
    const Sides& sides() const { return sides_; }

  private:
    Sides sides_;
    std::string text_;
    std::size_t count_ = 0;
};

bool is_device(const MachinePart& part) {
    return part.place != kMachinePlace && part.place != kCpusPlace && !part.type.empty();
}

bool lists_devices(const std::vector<MachinePart>& machine) {
    return std::any_of(machine.begin(), machine.end(), [](const MachinePart& part) {
        return part.place == kMachinePlace && part.properties.contains(std::string(kDevicesListed));
    });
}

const MachinePart* find_place(const std::vector<MachinePart>& machine, std::string_view place) {
    const auto found = std::find_if(machine.begin(), machine.end(),
                                    [&](const MachinePart& part) { return part.place == place; });
    return found == machine.end() ? nullptr : &*found;
}

// "'net0' (virtio-net-pci at pcie.0/02.0)"
std::string name_of(const MachinePart& part) {
    if (part.name.empty()) return fmt::format("a {} at {}", part.type, part.place);
    return fmt::format("'{}' ({} at {})", part.name, part.type, part.place);
}

std::uint64_t bits_of(std::string_view text) {
    std::uint64_t bits = 0;
    if (text.starts_with("0x")) text.remove_prefix(2);
    std::from_chars(text.data(), text.data() + text.size(), bits, 16);
    return bits;
}

// The guest has seen the features, and uses them.
void compare_features(const MachinePart& first, const MachinePart& second,
                      Differences& differences) {
    std::string missing;
    for (const auto& [name, value] : first.properties) {
        if (!name.starts_with(kCpuidPrefix)) continue;
        const auto other = second.properties.find(name);
        const std::uint64_t bits =
            bits_of(value) & ~(other == second.properties.end() ? 0 : bits_of(other->second));
        if (bits != 0) {
            missing += fmt::format("{}{} bits {:#x}", missing.empty() ? "" : ", ", name, bits);
        }
    }
    if (missing.empty()) return;
    differences.add(fmt::format("the CPUs lack features {} that they have {} ({})",
                                differences.sides().second, differences.sides().first, missing));
}

void compare_properties(std::string_view what, const MachinePart& first, const MachinePart& second,
                        Differences& differences) {
    for (const auto& [name, value] : first.properties) {
        const auto other = second.properties.find(name);
        if (name.starts_with(kCpuidPrefix) || other == second.properties.end()) continue;
        if (other->second == value) continue;
        differences.add_values(fmt::format("'{}' of {}", name, what), value, other->second);
    }
}

void compare_part(const MachinePart& first, const MachinePart& second, Differences& differences) {
    if (first.place == kMachinePlace) {
        if (first.type != second.type) {
            differences.add_values("the machine type", first.type, second.type);
        }
    } else if (first.place == kCpusPlace) {
        if (first.type != second.type) {
            differences.add_values("the CPU model", first.type, second.type);
        }
        compare_properties("the CPUs", first, second, differences);
        compare_features(first, second, differences);
    } else if (first.type.empty() || second.type.empty()) {
        compare_properties(first.place, first, second, differences);
    } else if (first.type != second.type) {
        differences.add(fmt::format("{} is {}, and {} is {}", name_of(first),
                                    differences.sides().first, name_of(second),
                                    differences.sides().second));
    } else {
        compare_properties(name_of(first), first, second, differences);
    }
}

std::string difference_of(const std::vector<MachinePart>& first,
                          const std::vector<MachinePart>& second, Sides sides) {
    Differences differences(sides);
    const MachinePart* const machine = find_place(first, kMachinePlace);
    const MachinePart* const other = find_place(second, kMachinePlace);
    // Another machine has another board: its devices say nothing more.
    const bool same_board = machine == nullptr || other == nullptr || machine->type == other->type;
    const bool devices = same_board && lists_devices(first) && lists_devices(second);
    for (const MachinePart& part : first) {
        const MachinePart* const twin = find_place(second, part.place);
        if (is_device(part) && !devices) continue;
        if (twin != nullptr) {
            compare_part(part, *twin, differences);
        } else if (is_device(part)) {
            differences.add(
                fmt::format("{} is {} and missing {}", name_of(part), sides.first, sides.second));
        }
    }
    for (const MachinePart& part : second) {
        if (!devices || !is_device(part) || find_place(first, part.place) != nullptr) continue;
        differences.add(
            fmt::format("{} is {} and missing {}", name_of(part), sides.second, sides.first));
    }
    return differences.text();
}

}  // namespace

Status compare_machines(const std::vector<MachinePart>& sender,
                        const std::vector<MachinePart>& here, std::string_view qemu,
                        MachineDifferences differences) {
    const std::string difference = difference_of(sender, here, kHosts);
    if (difference.empty()) return {};
    if (differences != MachineDifferences::kRefuse) {
        log::warning("the machines differ: {}; QEMU decides whether the guest can be loaded",
                     difference);
        return {};
    }
    return make_error(ErrorKind::kRefused,
                      "the machines differ: {}; start {} with the sender's -machine, -cpu, -smp, "
                      "devices and memory (or, if the guest can do without the difference, let "
                      "QEMU decide: machine-differences=warn in the receiver's --sink)",
                      difference, qemu);
}

Status check_same_machine(const std::vector<MachinePart>& then, const std::vector<MachinePart>& now,
                          MachineDifferences differences) {
    const std::string difference = difference_of(then, now, kTimes);
    if (difference.empty()) return {};
    if (differences != MachineDifferences::kRefuse) {
        log::warning("QEMU's devices changed during the migration: {}", difference);
        return {};
    }
    return make_error(
        "QEMU's devices must not change until the migration has ended: {}; migrate again (or let "
        "the destination's QEMU decide: machine-differences=warn in --source)",
        difference);
}

}  // namespace migrate::guest
