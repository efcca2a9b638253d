// What memory a QEMU has, by its own answers: its backends, and the devices that plug them into the
// guest. Two layouts are compared to find memory that was plugged, unplugged or resized.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "guest/qemu/monitor.hpp"
#include "qmp/message.hpp"

namespace migrate::guest {

// A pc-dimm, nvdimm, virtio-mem, virtio-pmem … (query-memory-devices). A balloon is none: it gives
// memory back and takes it again, which leaves the layout as it is.
struct MemoryDevice {
    std::string backend;  // the id of its memory backend; empty: it has none
    std::string name;     // "dimm device 'd0'"
    qmp::Json facts;      // all that QEMU says of it: address, sizes, slot, NUMA node
};

struct MemoryLayout {
    std::vector<MemoryBackend> backends;
    std::vector<MemoryDevice> devices;
    std::uint64_t bytes = 0;  // of guest memory, plugged memory included
};

// Asks QEMU.
Result<MemoryLayout> query_memory_layout(Monitor& monitor);
// The same in three queries, for a guest that is paused: types and paths of backends that `known`
// has are taken from there. A backend that was replaced by one of the same name and size is for
// memory::check_still_mapped() to find.
Result<MemoryLayout> query_memory_layout_again(Monitor& monitor, const MemoryLayout& known);

// From the answer to query-memory-devices.
std::vector<MemoryDevice> parse_memory_devices(const qmp::Json& answer);

// An Error names the first backend or device by which `now` differs from `opened`, and how. The
// order in which QEMU lists them does not matter.
Status check_same_layout(const MemoryLayout& opened, const MemoryLayout& now);

}  // namespace migrate::guest
