#include "engine/session_config.hpp"

namespace migrate::engine {
using std::chrono::milliseconds;

namespace {

Result<ZeroPageDetection> detection_from_name(const std::string& name) {
    for (const auto value : {ZeroPageDetection::kNone, ZeroPageDetection::kLegacy,
                             ZeroPageDetection::kMultifd, ZeroPageDetection::kDsaAccel}) {
        if (name == name_of(value)) return value;
    }
    return make_error(ErrorKind::kUsage, "zero-page-detection '{}' is not known", name);
}

}  // namespace

std::string_view name_of(ZeroPageDetection detection) {
    switch (detection) {
        case ZeroPageDetection::kNone:
            return "none";
        case ZeroPageDetection::kLegacy:
            return "legacy";
        case ZeroPageDetection::kMultifd:
            return "multifd";
        case ZeroPageDetection::kDsaAccel:
            return "dsa-accel";
    }
    return "none";
}

Tunables make_tunables(const Settings& settings) {
    Tunables tunables;
    tunables.max_bandwidth = settings.get<"max-bandwidth">();
    tunables.avail_switchover_bandwidth = settings.get<"avail-switchover-bandwidth">();
    tunables.downtime_limit = milliseconds(settings.get<"downtime-limit">());
    tunables.max_downtime = milliseconds(settings.get<"max-downtime">());
    tunables.auto_converge = settings.get<"auto-converge">();
    tunables.throttle_trigger_threshold =
        static_cast<unsigned>(settings.get<"throttle-trigger-threshold">());
    tunables.cpu_throttle_initial = static_cast<unsigned>(settings.get<"cpu-throttle-initial">());
    tunables.cpu_throttle_increment =
        static_cast<unsigned>(settings.get<"cpu-throttle-increment">());
    tunables.max_cpu_throttle = static_cast<unsigned>(settings.get<"max-cpu-throttle">());
    tunables.deadline = milliseconds(settings.get<"deadline">());
    tunables.on_deadline =
        settings.get<"on-deadline">() == "switch" ? OnDeadline::kSwitch : OnDeadline::kCancel;
    tunables.stall_limit = milliseconds(settings.get<"stall-limit">());
    return tunables;
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

Result<SendConfig> make_send_config(const Settings& settings) {
    SendConfig config;
    MIGRATE_ASSIGN(config.connect, transport::parse_address(settings.get<"connect">()));
    config.channels = static_cast<std::uint16_t>(settings.get<"multifd-channels">());
    MIGRATE_ASSIGN(config.detection, detection_from_name(settings.get<"zero-page-detection">()));
    config.zero_kernel = settings.get<"zero-kernel">();
    config.accel.path = settings.get<"accel-path">();
    config.accel.completion = settings.get<"accel-completion">() == "thread"
                                  ? accel::CompletionModel::kThread
                                  : accel::CompletionModel::kInline;
    config.accel.verify_every = settings.get<"accel-verify">();
    config.accel.timeout = milliseconds(settings.get<"accel-timeout">());
    if (const auto ratio = settings.get<"multifd-normal-page-ratio">();
        ratio != kNormalPageRatioOff) {
        config.normal_page_ratio = static_cast<unsigned>(ratio);
    }
    config.packet_bytes = settings.get<"multifd-packet-size">();
    MIGRATE_ASSIGN(config.compression,
                   transport::compression_from_name(settings.get<"multifd-compression">()));
    config.compression_level = static_cast<int>(config.compression == transport::Compression::kLz4
                                                    ? settings.get<"multifd-lz4-level">()
                                                    : settings.get<"multifd-zstd-level">());
    config.tunables = make_tunables(settings);
    config.dirty_tracker = settings.get<"dirty-tracker">();
    config.pause_before_switchover = settings.get<"pause-before-switchover">();
    config.switchover_ack = settings.get<"switchover-ack">();
    config.skip_unpopulated = settings.get<"skip-unpopulated">();
    config.verify = settings.get<"verify">() == "digest";
    MIGRATE_ASSIGN(config.devices, devices::parse_devices(settings.get<"devices">()));
    MIGRATE_ASSIGN(config.device_state,
                   transport::device_state_mode_from_name(settings.get<"multifd-device-state">()));
    config.connect_timeout = milliseconds(settings.get<"connect-timeout">());
    config.handshake_timeout = milliseconds(settings.get<"handshake-timeout">());
    config.io_timeout = milliseconds(settings.get<"io-timeout">());
    return config;
}

Result<RecvConfig> make_recv_config(const Settings& settings) {
    RecvConfig config;
    MIGRATE_ASSIGN(config.listen, transport::parse_address(settings.get<"listen">()));
    config.sink = settings.get<"sink">();
    config.port_file = settings.get<"port-file">();
    MIGRATE_ASSIGN(config.devices, devices::parse_devices(settings.get<"devices">()));
    for (const devices::DeviceSpec& device : config.devices) {
        if (device.kind != devices::DeviceKind::kSimulated) continue;
        return make_error(
            ErrorKind::kUsage,
            "option devices: device {} is simulated, which is said at the sender only",
            device.id.text());
    }
    MIGRATE_ASSIGN(config.device_state,
                   transport::device_state_mode_from_name(settings.get<"multifd-device-state">()));
    config.device_state_buffer = settings.get<"device-state-buffer">();
    if (const auto timeout = settings.get<"listen-timeout">(); timeout != 0) {
        config.listen_timeout = milliseconds(timeout);
    }
    config.handshake_timeout = milliseconds(settings.get<"handshake-timeout">());
    config.io_timeout = milliseconds(settings.get<"io-timeout">());
    return config;
}

}  // namespace migrate::engine
