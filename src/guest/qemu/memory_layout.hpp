// SPDX-License-Identifier: Apache-2.0
// The memory of a QEMU according to its own answers: its backends, and the devices that plug them
// into the guest. Comparing two layouts finds memory that was plugged, unplugged or resized.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "guest/qemu/monitor.hpp"
#include "qmp/message.hpp"

namespace migrate::guest {

// A pc-dimm, nvdimm, virtio-mem, virtio-pmem … (query-memory-devices). A balloon is not one: it
// gives memory back and takes it again, which does not change the layout.
struct MemoryDevice {
    std::string backend;   // the id of its memory backend; empty if none
    std::string name;      // "dimm device 'd0'"
    bool resizes = false;  // a virtio-mem: the guest plugs and unplugs parts of it
    qmp::Json facts;       // everything that QEMU reports: address, sizes, slot, NUMA node
};

struct MemoryLayout {
    std::vector<MemoryBackend> backends;
    std::vector<MemoryDevice> devices;
    std::uint64_t bytes = 0;  // guest memory, including plugged memory
};

// Queries QEMU.
Result<MemoryLayout> query_memory_layout(Monitor& monitor);
// Does the same with two queries, for a paused guest: the types and paths of backends in `known`
// are taken from there, and the size of the guest's memory, which changes only with its devices. A
// backend that was replaced by another of the same name and size is detected by
// memory::check_still_mapped() instead.
Result<MemoryLayout> query_memory_layout_again(Monitor& monitor, const MemoryLayout& known);

// Parses the answer to query-memory-devices.
std::vector<MemoryDevice> parse_memory_devices(const qmp::Json& answer);

// kLoaded: a guest's devices were loaded since. They decide how much of a virtio-mem is plugged.
enum class LayoutSince { kOpened, kLoaded };
// An Error names the first backend or device that differs between `opened` and `now`, and the
// difference. The order in which QEMU lists them does not matter.
Status check_same_layout(const MemoryLayout& opened, const MemoryLayout& now,
                         LayoutSince since = LayoutSince::kOpened);

}  // namespace migrate::guest
