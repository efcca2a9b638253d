// SPDX-License-Identifier: Apache-2.0
// A guest's machine as a list of parts, which both sides of a migration compare before memory
// moves. The text comes from a VMM, and at the receiver from the peer.
#pragma once

#include <cstddef>
#include <map>
#include <string>

namespace migrate {

struct MachinePart {
    std::string place;  // unique in a machine: "machine", "cpus", "pcie.0/02.0"
    std::string type;   // "pc-q35-10.0", "virtio-net-pci"; empty: properties alone are compared
    std::string name;   // the user's name for it; not compared
    // Compared where both sides have the property.
    std::map<std::string, std::string> properties{};
    bool operator==(const MachinePart&) const = default;
};

// Limits of a machine in an offer. QEMU's largest ones have a few hundred devices.
inline constexpr std::size_t kMaxMachineParts = 1024;
inline constexpr std::size_t kMaxPartProperties = 160;
inline constexpr std::size_t kMaxPartTextBytes = 255;  // of each text
// The sum of all texts, so that the offer fits into its frame.
inline constexpr std::size_t kMaxMachineBytes = 56UL * 1024;

}  // namespace migrate
