// SPDX-License-Identifier: Apache-2.0
// The machine of a QEMU as parts that two QEMUs must have in common: its type, its CPUs, its
// devices with their addresses, and the pages of its RAM blocks. A saved state loads only into such
// a machine.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/machine_part.hpp"
#include "guest/qemu/monitor.hpp"
#include "guest/qemu/ram_blocks.hpp"
#include "qmp/message.hpp"

namespace migrate::guest {

inline constexpr std::string_view kMachinePlace = "machine";
inline constexpr std::string_view kCpusPlace = "cpus";
// Property of the machine: its devices are among the parts.
inline constexpr std::string_view kDevicesListed = "devices listed";
// Properties of the CPUs that are sets of bits: the destination may have more, but not fewer.
inline constexpr std::string_view kCpuidPrefix = "CPUID ";

// Makes the part of the CPUs from the answer to query-hotpluggable-cpus.
MachinePart parse_cpus(const qmp::Json& answer);
// Adds the features, from the answer to qom-get feature-words.
void add_cpu_features(const qmp::Json& words, MachinePart& cpus);
// The types in the answers to qom-list for /machine/peripheral and /machine/peripheral-anon: the
// devices that were added by the user, with and without an id.
struct AddedDevices {
    std::map<std::string, std::string> by_id;  // id, type
    std::vector<std::string> without_id;       // types
};
AddedDevices parse_added(const qmp::Json& named, const qmp::Json& anonymous);
// Makes the parts of the devices from QEMU's text ("info qtree") and its list of added devices:
// these, and those of the board that a user may switch on or off or that are on PCI.
std::vector<MachinePart> parse_devices(std::string_view tree, const AddedDevices& added);
// Leaves out what exceeds the limits of an offer: properties first. Empty if nothing can be left
// out.
std::vector<MachinePart> within_limits(std::vector<MachinePart> machine);

// Asks QEMU; `blocks` may be null. About ten queries. `known` is the same machine as it was before;
// the type of the machine and of its CPUs, which never change, are taken from there. Null: asked.
Result<std::vector<MachinePart>> query_machine(Monitor& monitor,
                                               const std::vector<RamBlock>* blocks,
                                               const std::vector<MachinePart>* known = nullptr);

}  // namespace migrate::guest
