// SPDX-License-Identifier: Apache-2.0
// The devices of a migration as the option `devices` names them, and their description to the other
// side. Invariant: no two specs of a list have the same id.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/enum_names.hpp"
#include "devices/device.hpp"
#include "devices/simulated_spec.hpp"

namespace migrate::devices {

enum class DeviceKind {
    kSimulated,  // simulated on both sides, as the sender describes it
    kStream,     // bytes from anywhere; the receiver's own option names the target
    kGuest,      // the built-in guest's own state, which the session loads
};
using migrate::name_of;  // found from other namespaces too
constexpr auto enum_names(DeviceKind) {
    return names_of_enum<DeviceKind>({{DeviceKind::kSimulated, "sim"},
                                      {DeviceKind::kStream, "stream"},
                                      {DeviceKind::kGuest, "guest"}});
}

struct DeviceSpec {
    DeviceId id;
    DeviceKind kind = DeviceKind::kSimulated;
    SimulatedSpec simulated;  // for kSimulated
    std::string path;         // for kStream: a file, or fd
    int fd = -1;              // an open descriptor if ≥ 0, which was taken (stream_device.hpp)
};

// Reads the option: texts in kDeviceForms (base/config/form_tables.hpp) with blanks between them;
// NAME may end in #INSTANCE, and count=N makes the instances 0 … N − 1 more. kUsage names the text
// that is wrong. Takes the descriptors, so it must run before anything is opened.
Result<std::vector<DeviceSpec>> parse_devices(std::string_view text);

// Checks that no two specs of the list have the same id and that there are at most kMaxDevices.
// Fails with kUsage.
Status check_list(std::span<const DeviceSpec> specs);

// Makes one source for each simulated device and stream. Opens the streams.
Result<std::vector<std::unique_ptr<DeviceSource>>> make_sources(std::span<const DeviceSpec> specs);

// Checks that each device that a sender announced has a target here, and that each device of `own`
// is announced. `own` are the receiver's specs, which name the streams' targets. Opens nothing; an
// Error names the device.
Status check_places(std::span<const DeviceSpec> announced, std::span<const DeviceSpec> own);
// Makes one sink for each device that passed check_places(); a kGuest gets a null. Opens the
// streams, which their readers may notice: call it after everything else that may fail.
Result<std::vector<std::unique_ptr<DeviceSink>>> make_sinks(std::span<const DeviceSpec> announced,
                                                            std::span<const DeviceSpec> own);

}  // namespace migrate::devices
