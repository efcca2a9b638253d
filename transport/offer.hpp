// SPDX-License-Identifier: Apache-2.0
// The sender's offer: the memory, the devices, and the settings that hold for both sides. The
// sender decides; the receiver accepts, or refuses and names the reason. Invariant: a decoded offer
// holds only values in range; an unknown key is ignored, an unknown setting or feature is refused.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/config/negotiated_settings.hpp"
#include "base/device_limits.hpp"
#include "base/error.hpp"
#include "base/file_identity.hpp"
#include "base/limits.hpp"
#include "base/machine_part.hpp"
#include "base/units.hpp"

namespace migrate::transport {

// Limits for options that travel as text by key.
inline constexpr std::size_t kMaxSettings = 64;
inline constexpr std::size_t kMaxSettingBytes = 64;  // of a key or a value

inline constexpr std::size_t kMaxGuestName = 64;

// The multifd-device-state setting of either side.
using DeviceStateMode = AutoOnOff;

// A device whose state will be sent.
struct OfferedDevice {
    std::string name;  // valid by is_device_name(), which decode_offer() does not check
    std::uint32_t instance = 0;
    std::string kind;   // "sim", "stream", "guest"
    std::string words;  // data that the receiver needs about a device of that kind
};

// A round trip of migrations; legs are counted from 1, the odd ones lead away from the source.
struct Journey {
    std::uint32_t leg = 0;  // 0: a single migration without a way back
    std::uint32_t legs = 0;
    std::uint16_t return_port = 0;  // port on which the sender of the odd legs listens
    // Values of options by name, for the way back if its sender was not configured otherwise.
    std::map<std::string, std::string> options{};  // at most kMaxSettings
};

struct Offer {
    std::string program;              // "migrate 0.1.0", for the logs
    std::vector<RegionInfo> regions;  // 1 … kMaxRegions
    NegotiatedSettings settings{};    // hold for both sides
    std::string guest_name{};         // at most kMaxGuestName printable characters; empty: none
    std::string guest{};  // kind of the guest that continues at the receiver; empty: an image
    std::vector<OfferedDevice> devices{};                  // at most kMaxDevices
    DeviceStateMode device_state = DeviceStateMode::kOff;  // use of the data channels
    Journey journey{};
    // The sender's io-timeout, 1 ms … a day; empty if the program does not send it.
    std::optional<std::chrono::milliseconds> io_timeout{};
    // The time for which the sender tries to replace lost data channels, 1 ms … a day; empty: a
    // lost data channel ends the migration.
    std::optional<std::chrono::milliseconds> reconnect_timeout{};
    // boot_id() of the sender's host; empty: not known. `files` has one entry per region: the file
    // behind it at the sender, nothing for memory without a file. It has no entries if the sender
    // does not report them.
    std::string boot_id{};
    std::vector<std::optional<FileIdentity>> files{};
    // The guest's machine, for the receiver to compare with its own; empty: not described.
    std::vector<MachinePart> machine{};
};

std::string encode(const Offer& message);
// Fails with kProtocol.
Result<Offer> decode_offer(std::string_view body);

}  // namespace migrate::transport
