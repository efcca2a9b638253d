// The devices of a migration as the option `devices` names them, and how they are described to the
// other side. Invariant: no two specs of a list have the same id.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "devices/device.hpp"
#include "devices/simulated_spec.hpp"

namespace migrate::devices {

enum class DeviceKind {
    kSimulated,  // on both sides, by the sender's words
    kStream,     // bytes from anywhere; the receiver's own option says where to
    kGuest,      // the built-in guest's own state, which the session loads
};
std::string_view name_of(DeviceKind kind);

struct DeviceSpec {
    DeviceId id;
    DeviceKind kind = DeviceKind::kSimulated;
    SimulatedSpec simulated;  // kSimulated
    std::string path;         // kStream: a file, or
    int fd = -1;  // … an open descriptor if ≥ 0, which was taken (stream_device.hpp)
};

// Blank-separated words: "sim:NAME[,count=N][,WORDS]" (see simulated_spec.hpp; count=N makes the
// instances 0 … N − 1), "file:NAME=PATH", "fd:NAME=NUMBER"; NAME may end in #INSTANCE. kUsage names
// the word that is wrong. Takes the descriptors, so before anything is opened.
Result<std::vector<DeviceSpec>> parse_devices(std::string_view words);

// No two of the list have the same id, and there are at most kMaxDevices.
Status check_list(std::span<const DeviceSpec> specs);

// One source each, of simulated devices and streams; a stream is opened.
Result<std::vector<std::unique_ptr<DeviceSource>>> make_sources(std::span<const DeviceSpec> specs);

// Whether what a sender announced has a place here, and all that was waited for comes; `own` are
// the receiver's specs, which say where streams go. Opens nothing; an Error names the device.
Status check_places(std::span<const DeviceSpec> announced, std::span<const DeviceSpec> own);
// A sink each for what passed check_places(); kGuest gets a null. Streams are opened, which their
// readers may see: last of all that may fail.
Result<std::vector<std::unique_ptr<DeviceSink>>> make_sinks(std::span<const DeviceSpec> announced,
                                                            std::span<const DeviceSpec> own);

}  // namespace migrate::devices
