// The software DSA device inside this process, as portals; `accel-path=softdsa:WORDS` selects it.
//
// WORDS are separated by commas; all are optional (defaults in parentheses):
//
//     N                       queues of each device, 1 to 8 (1)
//     devices=N               1 to 8 (1)
//     mode=shared|dedicated   of every queue (shared)
//     size=N                  descriptors that a queue holds, 1 to 4096 (128)
//     threshold=N             of a shared queue, at most its size (the size)
//     batch=N                 descriptors of a batch, 1 to 1024; 1: no batches (32)
//     transfer=SIZE           bytes of one descriptor, such as 4KiB (2MiB)
//     engines=N               threads of each device, 1 to 16 (1)
//     block-on-fault=on|off   the flag is allowed (off)
//     timing=on|off           answers come with the timing of the published hardware (off)
//     latency=NS              timing=on with another latency (700)
//     rate=SIZE               timing=on with other bytes per second (30000000000)
//     faults=PLAN             fault_plan.hpp, its words separated by ":"
//
// All devices have the same plan with different seeds: device d adds d to the seed.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "accel/dsa/portal.hpp"
#include "accel/softdsa/device.hpp"
#include "base/error.hpp"

namespace migrate::accel::softdsa {

struct InProcessConfig {
    std::uint32_t devices = 1;
    DeviceConfig device;
};

// Parses the words after "softdsa:". An Error of kind kUsage names the word.
Result<InProcessConfig> parse_in_process(std::string_view words);

// Returns a portal for every queue of the device, named "softdsa:NUMBER.QUEUE"; each portal keeps
// the device alive. The plan's open= and mmap= become Errors.
Result<std::vector<std::unique_ptr<dsa::Portal>>> open_portals(
    const std::shared_ptr<Device>& device, std::uint32_t number);

// Does both, and makes and starts the devices. The portals are in the order of the devices.
Result<std::vector<std::unique_ptr<dsa::Portal>>> open_in_process(std::string_view words);

}  // namespace migrate::accel::softdsa
