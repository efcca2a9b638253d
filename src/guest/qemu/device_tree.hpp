// SPDX-License-Identifier: Apache-2.0
// QEMU's devices as its "info qtree" lists them: every device on every bus, those of the board
// too, with its address and its properties.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace migrate::guest {

struct TreeDevice {
    std::string type;   // "virtio-net-pci"
    std::string id;     // the user's; empty if none was given
    std::string place;  // buses and addresses from the root to it: "pcie.0/01.0/00.0"
    std::string bus;    // kind of its bus: "PCIE", "ISA", "usb-bus", "SCSI", "System", …
    // QEMU's texts, without quotation marks and without the second form in brackets. Those of a
    // virtio device include the properties of the transport that carries it.
    std::map<std::string, std::string> properties{};
    bool is_pci() const { return bus == "PCI" || bus == "PCIE"; }
};

// Parses QEMU's text. Lines that are not known are skipped; empty if the text is no such list.
// Places do not depend on the ids or on the order of devices, if these have an address. A virtio
// device and its transport are one device.
std::vector<TreeDevice> parse_device_tree(std::string_view text);

}  // namespace migrate::guest
