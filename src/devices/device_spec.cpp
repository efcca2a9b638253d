#include "devices/device_spec.hpp"

#include <algorithm>
#include <climits>
#include <set>

#include "base/config/unit_text.hpp"
#include "devices/simulated_device.hpp"
#include "devices/stream_device.hpp"

namespace migrate::devices {
namespace {

// "NAME" or "NAME#INSTANCE"
Result<DeviceId> parse_id(std::string_view text) {
    DeviceId id;
    const std::size_t hash = std::min(text.find('#'), text.size());
    id.name = text.substr(0, hash);
    if (!is_device_name(id.name)) {
        return make_error(ErrorKind::kUsage,
                          "'{}' is no device's name: 1 to {} letters, digits and ._:-", id.name,
                          kMaxDeviceNameBytes);
    }
    if (hash == text.size()) return id;
    MIGRATE_ASSIGN(const std::uint64_t instance, parse_integer(text.substr(hash + 1)));
    if (instance > UINT32_MAX) {
        return make_error(ErrorKind::kUsage, "instance {} is above {}", instance, UINT32_MAX);
    }
    id.instance = static_cast<std::uint32_t>(instance);
    return id;
}

Status add_simulated(std::string_view text, std::vector<DeviceSpec>& specs) {
    const std::size_t comma = std::min(text.find(','), text.size());
    DeviceSpec spec;
    MIGRATE_ASSIGN(spec.id, parse_id(text.substr(0, comma)));
    text.remove_prefix(std::min(comma + 1, text.size()));
    std::uint64_t count = 1;
    if (text.starts_with("count=")) {
        const std::size_t end = std::min(text.find(','), text.size());
        MIGRATE_ASSIGN(count, parse_integer(text.substr(6, end - 6)));
        text.remove_prefix(std::min(end + 1, text.size()));
        if (count == 0 || count > kMaxDevices) {
            return make_error(ErrorKind::kUsage, "count must be 1 to {}, not {}", kMaxDevices,
                              count);
        }
    }
    MIGRATE_ASSIGN(spec.simulated, parse_simulated(text));
    for (; count != 0; --count) {
        specs.push_back(spec);
        ++spec.id.instance;
    }
    return {};
}

Status add_stream(std::string_view scheme, std::string_view text, std::vector<DeviceSpec>& specs) {
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos || equals + 1 == text.size()) {
        return make_error(ErrorKind::kUsage, "{}: needs NAME={}", scheme,
                          scheme == "fd" ? "NUMBER" : "PATH");
    }
    DeviceSpec spec;
    spec.kind = DeviceKind::kStream;
    MIGRATE_ASSIGN(spec.id, parse_id(text.substr(0, equals)));
    if (scheme == "fd") {
        MIGRATE_ASSIGN(const std::uint64_t number, parse_integer(text.substr(equals + 1)));
        if (number > INT_MAX) return make_error(ErrorKind::kUsage, "{} is no descriptor", number);
        spec.fd = static_cast<int>(number);
        MIGRATE_TRY(take_descriptor(spec.fd));
    } else {
        spec.path = text.substr(equals + 1);
    }
    specs.push_back(std::move(spec));
    return {};
}

Status add_word(std::string_view word, std::vector<DeviceSpec>& specs) {
    const std::size_t colon = word.find(':');
    const std::string_view scheme = word.substr(0, std::min(colon, word.size()));
    if (colon != std::string_view::npos) {
        const std::string_view rest = word.substr(colon + 1);
        if (scheme == "sim") return add_simulated(rest, specs);
        if (scheme == "file" || scheme == "fd") return add_stream(scheme, rest, specs);
    }
    return make_error(ErrorKind::kUsage, "it begins with none of sim:, file:, fd:");
}

// Finds the same device in the other side's list, if it is listed there with the same kind.
auto find_device(std::span<const DeviceSpec> list, const DeviceSpec& wanted) {
    return std::find_if(list.begin(), list.end(), [&](const DeviceSpec& spec) {
        return spec.id == wanted.id && spec.kind == wanted.kind;
    });
}

}  // namespace

std::string_view name_of(DeviceKind kind) {
    switch (kind) {
        case DeviceKind::kSimulated:
            return "sim";
        case DeviceKind::kStream:
            return "stream";
        case DeviceKind::kGuest:
            return "guest";
    }
    return "sim";
}

Status check_list(std::span<const DeviceSpec> specs) {
    if (specs.size() > kMaxDevices) {
        return make_error(ErrorKind::kUsage, "{} devices; at most {} are possible", specs.size(),
                          kMaxDevices);
    }
    std::set<DeviceId> seen;
    for (const DeviceSpec& spec : specs) {
        if (!seen.insert(spec.id).second) {
            return make_error(ErrorKind::kUsage, "device {} is there twice", spec.id.text());
        }
    }
    return {};
}

Result<std::vector<DeviceSpec>> parse_devices(std::string_view words) {
    std::vector<DeviceSpec> specs;
    while (!words.empty()) {
        const std::size_t blank = std::min(words.find(' '), words.size());
        const std::string_view word = words.substr(0, blank);
        words.remove_prefix(std::min(blank + 1, words.size()));
        if (word.empty()) continue;
        if (Status added = add_word(word, specs); !added) {
            return std::move(added).error().with_context(fmt::format("option devices: '{}'", word));
        }
    }
    if (Status listed = check_list(specs); !listed) {
        return std::move(listed).error().with_context("option devices");
    }
    return specs;
}

Result<std::vector<std::unique_ptr<DeviceSource>>> make_sources(std::span<const DeviceSpec> specs) {
    const auto bus = std::make_shared<SharedBus>();
    std::vector<std::unique_ptr<DeviceSource>> sources;
    for (const DeviceSpec& spec : specs) {
        if (spec.kind == DeviceKind::kSimulated) {
            sources.push_back(make_simulated_source(spec.id, spec.simulated, bus));
            continue;
        }
        auto opened =
            spec.fd >= 0 ? duplicate_stream_source(spec.fd) : open_stream_source(spec.path);
        if (!opened) {
            return std::move(opened).error().with_context(fmt::format("device {}", spec.id.text()));
        }
        sources.push_back(*std::move(opened));
    }
    return sources;
}

Status check_places(std::span<const DeviceSpec> announced, std::span<const DeviceSpec> own) {
    for (const DeviceSpec& spec : announced) {
        if (spec.kind != DeviceKind::kStream || find_device(own, spec) != own.end()) continue;
        return make_error(
            "device {}: the receiver was not told where it goes; give it --devices file:{}=PATH",
            spec.id.text(), spec.id.text());
    }
    for (const DeviceSpec& spec : own) {
        if (find_device(announced, spec) != announced.end()) continue;
        return make_error("device {}: the sender does not send it, or not as a {}", spec.id.text(),
                          name_of(spec.kind));
    }
    return {};
}

Result<std::vector<std::unique_ptr<DeviceSink>>> make_sinks(std::span<const DeviceSpec> announced,
                                                            std::span<const DeviceSpec> own) {
    const auto bus = std::make_shared<SharedBus>();
    std::vector<std::unique_ptr<DeviceSink>> sinks;
    for (const DeviceSpec& spec : announced) {
        if (spec.kind == DeviceKind::kGuest) {
            sinks.push_back(nullptr);
            continue;
        }
        if (spec.kind == DeviceKind::kSimulated) {
            sinks.push_back(make_simulated_sink(spec.id, spec.simulated, bus));
            continue;
        }
        const auto place = find_device(own, spec);
        auto opened =
            place->fd >= 0 ? duplicate_stream_sink(place->fd) : open_stream_sink(place->path);
        if (!opened) {
            return std::move(opened).error().with_context(fmt::format("device {}", spec.id.text()));
        }
        sinks.push_back(*std::move(opened));
    }
    return sinks;
}

}  // namespace migrate::devices
