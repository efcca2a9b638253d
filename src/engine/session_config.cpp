// SPDX-License-Identifier: Apache-2.0
#include "engine/session_config.hpp"

#include <algorithm>

#include "transport/offer.hpp"

namespace migrate::engine {
using std::chrono::milliseconds;

Tunables make_tunables(const Settings& settings) {
    Tunables tunables;
    tunables.max_bandwidth = settings.get<"max-bandwidth">();
    tunables.avail_switchover_bandwidth = settings.get<"avail-switchover-bandwidth">();
    tunables.downtime_limit = settings.get<"downtime-limit", milliseconds>();
    tunables.max_downtime = settings.get<"max-downtime", milliseconds>();
    tunables.shorten_downtime = settings.get<"shorten-downtime">();
    tunables.auto_converge = settings.get<"auto-converge">();
    tunables.throttle_trigger_threshold = settings.get<"throttle-trigger-threshold", unsigned>();
    tunables.cpu_throttle_initial = settings.get<"cpu-throttle-initial", unsigned>();
    tunables.cpu_throttle_increment = settings.get<"cpu-throttle-increment", unsigned>();
    tunables.max_cpu_throttle = settings.get<"max-cpu-throttle", unsigned>();
    tunables.deadline = settings.get<"deadline", milliseconds>();
    tunables.on_deadline = settings.get<"on-deadline", OnDeadline>();
    tunables.stall_limit = settings.get<"stall-limit", milliseconds>();
    return tunables;
}

SettingValues tunable_values(const Tunables& tunables) {
    SettingValues values;
    const auto add = [&](const char* key, std::uint64_t number) {
        values.emplace_back(key, setting_value(kOptions[find_option(key)], number));
    };
    const auto add_ms = [&](const char* key, Microseconds time) {
        add(key, static_cast<std::uint64_t>(std::chrono::floor<milliseconds>(time).count()));
    };
    add("max-bandwidth", tunables.max_bandwidth);
    add("avail-switchover-bandwidth", tunables.avail_switchover_bandwidth);
    add_ms("downtime-limit", tunables.downtime_limit);
    add_ms("max-downtime", tunables.max_downtime);
    add("shorten-downtime", tunables.shorten_downtime ? 1 : 0);
    add("auto-converge", tunables.auto_converge ? 1 : 0);
    add("throttle-trigger-threshold", tunables.throttle_trigger_threshold);
    add("cpu-throttle-initial", tunables.cpu_throttle_initial);
    add("cpu-throttle-increment", tunables.cpu_throttle_increment);
    add("max-cpu-throttle", tunables.max_cpu_throttle);
    add_ms("deadline", tunables.deadline);
    values.emplace_back("on-deadline", std::string(name_of(tunables.on_deadline)));
    add_ms("stall-limit", tunables.stall_limit);
    return values;
}

std::map<std::string, std::string> options_for_way_back(const Settings& settings) {
    std::map<std::string, std::string> options;
    for (std::size_t i = 0; i < kOptionCount; ++i) {
        if (!kOptions[i].live) continue;
        options[std::string(kOptions[i].key)] = option_text(kOptions[i], settings.value(i));
    }
    return options;
}

Result<Tunables> tunables_for_way_back(const std::map<std::string, std::string>& options) {
    Settings settings(Side::kSend);
    for (const auto& [key, text] : options) {
        const std::size_t index = find_option(key);
        if (index == kOptionCount || !kOptions[index].live) continue;
        Status set = settings.set(key, text);
        if (!set) return std::move(set).error().with_context("the way back");
    }
    return make_tunables(settings);
}

namespace {

Result<std::string> read_guest_name(const Settings& settings) {
    const std::string& name = settings.get<"guest-name">();
    const auto is_printable = [](char c) { return c >= ' ' && c <= '~'; };
    if (name.size() <= transport::kMaxGuestName &&
        std::all_of(name.begin(), name.end(), is_printable)) {
        return name;
    }
    return make_error(ErrorKind::kUsage,
                      "option guest-name: a name has at most {} printable characters (ASCII)",
                      transport::kMaxGuestName);
}

// postcopy and postcopy-ram allow the same thing: with the latter alone only the user begins it.
Status read_postcopy(const Settings& settings, SendConfig& config) {
    MIGRATE_ASSIGN(config.postcopy, PostcopyTrigger::parse(settings.get<"postcopy">()));
    config.max_postcopy_bandwidth = settings.get<"max-postcopy-bandwidth">();
    if (settings.get<"postcopy-ram">() && !config.postcopy.is_allowed()) {
        config.postcopy.when = PostcopyTrigger::When::kManual;
    }
    if (!config.postcopy.is_allowed()) return {};
    if (config.negotiated.verify()) {
        return make_error(ErrorKind::kUsage,
                          "postcopy and verify=digest cannot be combined: in post-copy the memory "
                          "is never whole while the guest is paused");
    }
    if (settings.get<"repeat">() != 0) {
        return make_error(ErrorKind::kUsage,
                          "postcopy and repeat cannot be combined: a guest comes back in rounds");
    }
    return config.negotiated.set("postcopy-ram", "on");
}

}  // namespace

Result<transport::Security> make_security(const Settings& settings,
                                          const std::vector<transport::Address>& addresses) {
    MIGRATE_ASSIGN(transport::Security security, transport::make_security(settings));
    for (const transport::Address& address : addresses) {
        MIGRATE_TRY(transport::check_reach(security, address));
    }
    return security;
}

Result<SendConfig> make_send_config(const Settings& settings) {
    SendConfig config;
    MIGRATE_ASSIGN(config.paths, make_paths(settings));
    MIGRATE_ASSIGN(config.guest_name, read_guest_name(settings));
    config.negotiated = NegotiatedSettings(settings);
    config.detection = settings.get<"zero-page-detection", ZeroPageDetection>();
    config.zero_kernel = settings.get<"zero-kernel">();
    config.accel.path = settings.get<"accel-path">();
    config.accel.completion = settings.get<"accel-completion", CompletionModel>();
    config.accel.share = settings.get<"accel-share", AccelShare>();
    config.accel.prefilter = settings.get<"accel-prefilter">();
    config.accel.verify_every = settings.get<"accel-verify">();
    config.accel.timeout = settings.get<"accel-timeout", milliseconds>();
    if (const auto ratio = settings.get<"multifd-normal-page-ratio", unsigned>();
        ratio != kNormalPageRatioOff) {
        config.normal_page_ratio = ratio;
    }
    config.compression_level = config.negotiated.compression() == Compression::kLz4
                                   ? settings.get<"multifd-lz4-level", int>()
                                   : settings.get<"multifd-zstd-level", int>();
    config.zero_copy = settings.get<"zero-copy-send", AutoOnOff>();
    MIGRATE_ASSIGN(config.cpu, make_cpu_config(settings));
    config.tunables = make_tunables(settings);
    config.dirty_tracker = settings.get<"dirty-tracker">();
    config.pause_before_switchover = settings.get<"pause-before-switchover">();
    config.switchover_ack = settings.get<"switchover-ack">();
    config.skip_unpopulated = settings.get<"skip-unpopulated">();
    MIGRATE_TRY(read_postcopy(settings, config));
    MIGRATE_ASSIGN(config.devices, devices::parse_devices(settings.get<"devices">()));
    config.device_state = settings.get<"multifd-device-state", AutoOnOff>();
    config.connect_timeout = settings.get<"connect-timeout", milliseconds>();
    config.reconnect_timeout = settings.get<"reconnect-timeout", milliseconds>();
    config.handshake_timeout = settings.get<"handshake-timeout", milliseconds>();
    config.io_timeout = settings.get<"io-timeout", milliseconds>();
    return config;
}

Result<RecvConfig> make_recv_config(const Settings& settings) {
    RecvConfig config;
    MIGRATE_ASSIGN(config.listen, make_listen_addresses(settings));
    MIGRATE_ASSIGN(config.guest_name, read_guest_name(settings));
    config.sink = settings.get<"sink">();
    config.extras.reuse = settings.get<"reuse">();
    if (settings.get<"resume">()) config.extras.resume = memory::Resume::kYes;
    config.placement = settings.get<"placement", Placement>();
    MIGRATE_ASSIGN(config.cpu, make_cpu_config(settings));
    config.port_file = settings.get<"port-file">();
    MIGRATE_ASSIGN(config.devices, devices::parse_devices(settings.get<"devices">()));
    for (const devices::DeviceSpec& device : config.devices) {
        if (device.kind != devices::DeviceKind::kSimulated) continue;
        return make_error(ErrorKind::kUsage,
                          "option devices: device {} is simulated; give it at the sender only",
                          device.id.text());
    }
    config.device_state = settings.get<"multifd-device-state", AutoOnOff>();
    config.device_state_buffer = settings.get<"device-state-buffer">();
    if (const auto timeout = settings.get<"listen-timeout", milliseconds>(); timeout.count() != 0) {
        config.listen_timeout = timeout;
    }
    config.handshake_timeout = settings.get<"handshake-timeout", milliseconds>();
    config.io_timeout = settings.get<"io-timeout", milliseconds>();
    return config;
}

}  // namespace migrate::engine
