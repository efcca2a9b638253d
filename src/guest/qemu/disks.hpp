// SPDX-License-Identifier: Apache-2.0
// The disks of a QEMU, which a migration does not copy: which of them the destination cannot have,
// and which it must have.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "guest/qemu/monitor.hpp"
#include "qmp/message.hpp"

namespace migrate::guest {

struct Disks {
    struct Disk {
        std::string name;  // QEMU's name of the device or of the block node
        std::string file;
    };
    std::vector<Disk> temporary;  // -snapshot: what the guest writes goes to a file without a name
    std::vector<Disk> files;      // other writable disks in files of this host
};

// Parses the answer to query-block.
Disks parse_disks(const qmp::Json& answer);

// Asks QEMU. Warns of each disk whose content would stay behind, and says which images must be the
// same at the destination.
Status report_disks(Monitor& monitor);

}  // namespace migrate::guest
