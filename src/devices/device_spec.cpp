// SPDX-License-Identifier: Apache-2.0
#include "devices/device_spec.hpp"

#include <algorithm>
#include <climits>
#include <set>

#include "base/config/option_lookup.hpp"
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
                          "NAME must be 1 to {} letters, digits or ._:-, not '{}'",
                          kMaxDeviceNameBytes, id.name);
    }
    if (hash == text.size()) return id;
    MIGRATE_ASSIGN(const std::uint64_t instance, parse_integer(text.substr(hash + 1)));
    if (instance > UINT32_MAX) {
        return make_error(ErrorKind::kUsage, "instance {} is out of range 0 … {}", instance,
                          UINT32_MAX);
    }
    id.instance = static_cast<std::uint32_t>(instance);
    return id;
}

Status add_simulated(const ParsedForm& parsed, std::vector<DeviceSpec>& specs) {
    DeviceSpec spec;
    MIGRATE_ASSIGN(spec.id, parse_id(parsed.operand.value.text));
    spec.simulated = simulated_spec(parsed);
    auto count = Words<kSimulatedWords>(parsed).get<"count", unsigned>();
    for (; count != 0; --count) {
        specs.push_back(spec);
        ++spec.id.instance;
    }
    return {};
}

Status add_stream(const ParsedForm& parsed, std::vector<DeviceSpec>& specs) {
    const std::string& text = parsed.operand.value.text;
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals + 1 == text.size()) {
        return make_error(ErrorKind::kUsage, "write {}", form_syntax(*parsed.form));
    }
    DeviceSpec spec;
    spec.kind = DeviceKind::kStream;
    MIGRATE_ASSIGN(spec.id, parse_id(std::string_view(text).substr(0, equals)));
    const std::string_view target = std::string_view(text).substr(equals + 1);
    if (parsed.is("fd")) {
        MIGRATE_ASSIGN(const std::uint64_t number, parse_integer(target));
        if (number > INT_MAX) {
            return make_error(ErrorKind::kUsage, "descriptor {} is out of range 0 … {}", number,
                              INT_MAX);
        }
        spec.fd = static_cast<int>(number);
        MIGRATE_TRY(take_descriptor(spec.fd));
    } else {
        spec.path = target;
    }
    specs.push_back(std::move(spec));
    return {};
}

// Finds the same device in the other side's list, if it is listed there with the same kind.
auto find_device(std::span<const DeviceSpec> list, const DeviceSpec& wanted) {
    return std::find_if(list.begin(), list.end(), [&](const DeviceSpec& spec) {
        return spec.id == wanted.id && spec.kind == wanted.kind;
    });
}

}  // namespace

Status check_list(std::span<const DeviceSpec> specs) {
    if (specs.size() > kMaxDevices) {
        return make_error(ErrorKind::kUsage, "there are {} devices; at most {} are allowed",
                          specs.size(), kMaxDevices);
    }
    std::set<DeviceId> seen;
    for (const DeviceSpec& spec : specs) {
        if (!seen.insert(spec.id).second) {
            return make_error(ErrorKind::kUsage, "device {} is given twice", spec.id.text());
        }
    }
    return {};
}

Result<std::vector<DeviceSpec>> parse_devices(std::string_view text) {
    MIGRATE_ASSIGN(const std::vector<ParsedForm> all, parse_forms_of<"devices">(text));
    std::vector<DeviceSpec> specs;
    for (const ParsedForm& parsed : all) {
        Status added = parsed.is("sim") ? add_simulated(parsed, specs) : add_stream(parsed, specs);
        if (!added) {
            return std::move(added).error().with_context(fmt::format(
                "option devices: '{}:{}'", parsed.form->name, parsed.operand.value.text));
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
            "device {}: the receiver has no target for it; start the receiver with --devices "
            "file:{}=PATH",
            spec.id.text(), spec.id.text());
    }
    for (const DeviceSpec& spec : own) {
        if (find_device(announced, spec) != announced.end()) continue;
        return make_error(
            "device {}: the sender does not send it as a {}; correct --devices on one side",
            spec.id.text(), name_of(spec.kind));
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
