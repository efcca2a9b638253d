// SPDX-License-Identifier: Apache-2.0
// The software DSA device inside this process, as portals; `accel-path=softdsa:WORDS` selects it.
//
// WORDS are those of the form softdsa: (kSoftDsaWords in base/config/form_tables.hpp).
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
