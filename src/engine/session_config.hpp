// SPDX-License-Identifier: Apache-2.0
// The configuration of either side, in the engine's own types.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "accel/dsa_accelerator.hpp"
#include "base/config/negotiated_settings.hpp"
#include "base/config/setting_value.hpp"
#include "base/config/settings.hpp"
#include "base/error.hpp"
#include "devices/device_spec.hpp"
#include "engine/convergence/convergence.hpp"
#include "engine/cpu_config.hpp"
#include "engine/path_config.hpp"
#include "engine/postcopy/postcopy_trigger.hpp"
#include "engine/send/channel_limit.hpp"
#include "guest/guest.hpp"
#include "transport/address.hpp"
#include "transport/handshake.hpp"
#include "transport/security.hpp"

namespace migrate::engine {

struct SendConfig {
    std::vector<PathConfig> paths;  // at least one
    std::string guest_name;         // empty: none
    NegotiatedSettings negotiated;  // hold for both sides
    ChannelTuning channel_tuning;   // for multifd-channels=auto
    ZeroPageDetection detection = ZeroPageDetection::kMultifd;
    std::string zero_kernel = "auto";
    // For kDsaAccel: path, completion, share, prefilter, verify_every, timeout.
    accel::DsaAccelerator::Options accel;
    std::optional<unsigned> normal_page_ratio;  // percent, 0 … 100
    int compression_level = 1;
    AutoOnOff zero_copy = AutoOnOff::kOff;
    CpuConfig cpu;
    Tunables tunables;  // initial values
    std::string dirty_tracker = "auto";
    bool pause_before_switchover = false;
    bool switchover_ack = false;
    PostcopyTrigger postcopy;                  // with `negotiated`'s postcopy-ram
    std::uint64_t max_postcopy_bandwidth = 0;  // bytes per second, 0: no limit
    bool skip_unpopulated = true;
    std::vector<devices::DeviceSpec> devices;
    transport::DeviceStateMode device_state = transport::DeviceStateMode::kAuto;
    transport::Journey journey;  // this leg, and the number of legs
    transport::Security security;
    std::chrono::milliseconds connect_timeout{};
    std::chrono::milliseconds reconnect_timeout{};  // 0: a lost channel ends the migration
    std::chrono::milliseconds handshake_timeout{};
    std::chrono::milliseconds io_timeout{};
};

// The parameters that may change while a migration runs, from settings of Side::kSend.
Tunables make_tunables(const Settings& settings);
// The values of these options; make_tunables() reads the same ones.
SettingValues tunable_values(const Tunables& tunables);
// The same for the way back of a round trip: the first function returns options and their values
// for the peer, the second reads a peer's. It ignores options that this program does not know or
// that may not change; kUsage names an option whose value is not allowed.
std::map<std::string, std::string> options_for_way_back(const Settings& settings);
Result<Tunables> tunables_for_way_back(const std::map<std::string, std::string>& options);
// Reads settings of Side::kSend that passed validate(), but for the security: make_security() reads
// its files, which may wait.
Result<SendConfig> make_send_config(const Settings& settings);
// transport::make_security(), for connections to or at these addresses: also kUsage if one of them
// needs encryption (transport::check_reach()).
Result<transport::Security> make_security(const Settings& settings,
                                          const std::vector<transport::Address>& addresses);

struct RecvConfig {
    std::vector<transport::Address> listen;  // at least one
    std::string guest_name;                  // the only guest that is taken; empty: any
    std::string sink;
    guest::Extras extras;
    // Opens the destination, once for each sender that is considered. Empty:
    // guest::open_destination() opens `sink` with `extras`. Otherwise `sink` is a description, and
    // `extras` has no effect.
    std::function<Result<guest::Destination>()> open{};
    Placement placement = Placement::kAuto;
    CpuConfig cpu;
    std::string port_file;  // empty: none
    transport::Security security;
    std::vector<devices::DeviceSpec> devices;  // targets of streams
    transport::DeviceStateMode device_state = transport::DeviceStateMode::kAuto;
    std::uint64_t device_state_buffer = 128 * kMiB;
    // The leg of a round trip that has to come, and the largest number of legs; 0: no round trip.
    std::uint32_t expected_leg = 0;
    std::uint32_t most_legs = 0;
    std::optional<std::chrono::milliseconds> listen_timeout;  // empty: no limit
    std::chrono::milliseconds handshake_timeout{};
    std::chrono::milliseconds io_timeout{};

    Result<guest::Destination> open_destination() const {
        return open ? open() : guest::open_destination(sink, extras);
    }
};

// The same for Side::kRecv.
Result<RecvConfig> make_recv_config(const Settings& settings);

}  // namespace migrate::engine
