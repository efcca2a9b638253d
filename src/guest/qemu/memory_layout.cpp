// SPDX-License-Identifier: Apache-2.0
#include "guest/qemu/memory_layout.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/units.hpp"
#include "guest/qemu/answer_fields.hpp"

namespace migrate::guest {
namespace {

constexpr std::string_view kObjects = "/objects/";

std::string in_mib(std::uint64_t bytes) {
    return bytes % kMiB == 0 ? fmt::format("{} MiB", bytes / kMiB) : fmt::format("{} bytes", bytes);
}

std::string name_of(const MemoryDevice& device) {
    if (device.backend.empty()) return device.name;
    return fmt::format("{} of the memory backend '{}'", device.name, device.backend);
}

template <typename Listed, typename Same>
const Listed* find_same(const std::vector<Listed>& all, const Same& same) {
    const auto found = std::find_if(all.begin(), all.end(), same);
    return found == all.end() ? nullptr : &*found;
}

const MemoryBackend* find_backend(const MemoryLayout& layout, const std::string& id) {
    return find_same(layout.backends, [&](const MemoryBackend& other) { return other.id == id; });
}
const MemoryDevice* find_device(const MemoryLayout& layout, const MemoryDevice& wanted) {
    return find_same(layout.devices, [&](const MemoryDevice& other) {
        return other.backend == wanted.backend && other.name == wanted.name;
    });
}

Status add_devices(Monitor& monitor, MemoryLayout& layout) {
    MIGRATE_ASSIGN(const qmp::Json devices, monitor.ask("query-memory-devices"));
    layout.devices = parse_memory_devices(devices);
    return {};
}

Status check_backend(const MemoryBackend& then, const MemoryBackend* now) {
    if (now == nullptr) {
        return make_error("its memory backend '{}' ({}) was removed", then.id,
                          in_mib(then.size_bytes));
    }
    if (now->size_bytes != then.size_bytes) {
        return make_error("its memory backend '{}' had {}, and has {} now", then.id,
                          in_mib(then.size_bytes), in_mib(now->size_bytes));
    }
    if (now->shared != then.shared || now->type != then.type || now->path != then.path) {
        return make_error(
            "its memory backend '{}' was replaced: it was {} ({}), and is {} ({}) now", then.id,
            then.type, then.path.empty() ? "no path" : then.path, now->type,
            now->path.empty() ? "no path" : now->path);
    }
    return {};
}

// Returns the first fact that differs: "size was 134217728, and is 268435456 now".
std::string difference_of(const qmp::Json& then, const qmp::Json& now) {
    for (const auto& [key, value] : then.items()) {
        const auto other = now.find(key);
        if (other == now.end()) return fmt::format("{} is missing now", key);
        if (*other != value) {
            return fmt::format("{} was {}, and is {} now", key, value.dump(), other->dump());
        }
    }
    return "QEMU tells more of it now";
}

// The fields as a set: their order has no meaning.
nlohmann::json facts_of(const MemoryDevice& device, LayoutSince since) {
    nlohmann::json facts(device.facts);
    if (since == LayoutSince::kLoaded && device.resizes && facts.is_object()) {
        facts.erase("size");
        facts.erase("requested-size");
    }
    return facts;
}

Status check_device(const MemoryDevice& then, const MemoryDevice* now, LayoutSince since) {
    if (now == nullptr) return make_error("its {} was unplugged", name_of(then));
    if (facts_of(then, since) == facts_of(*now, since)) return {};
    return make_error("its {} was changed: {}", name_of(then),
                      difference_of(then.facts, now->facts));
}

}  // namespace

std::vector<MemoryDevice> parse_memory_devices(const qmp::Json& answer) {
    std::vector<MemoryDevice> devices;
    for (const qmp::Json& entry : answer) {
        const auto data = entry.is_object() ? entry.find("data") : entry.end();
        MemoryDevice device;
        device.facts = entry.is_object() && data != entry.end() ? *data : entry;
        const std::string path = text_of(device.facts, "memdev");
        device.backend = path.starts_with(kObjects) ? path.substr(kObjects.size()) : path;
        const std::string id = text_of(device.facts, "id");
        const std::string type = text_of(entry, "type");
        device.resizes = type == "virtio-mem";
        device.name = fmt::format("{} device{}", type, id.empty() ? "" : fmt::format(" '{}'", id));
        devices.push_back(std::move(device));
    }
    return devices;
}

Result<MemoryLayout> query_memory_layout(Monitor& monitor) {
    MemoryLayout layout;
    MIGRATE_ASSIGN(layout.backends, monitor.memory_backends());
    MIGRATE_TRY(add_devices(monitor, layout));
    MIGRATE_ASSIGN(layout.bytes, monitor.memory_bytes());
    return layout;
}

Result<MemoryLayout> query_memory_layout_again(Monitor& monitor, const MemoryLayout& known) {
    MIGRATE_ASSIGN(const qmp::Json answer, monitor.ask("query-memdev"));
    MemoryLayout layout;
    for (const qmp::Json& entry : answer) {
        MemoryBackend backend{
            text_of(entry, "id"), number_of(entry, "size"), flag_of(entry, "share"), {}, {}};
        if (const MemoryBackend* before = find_backend(known, backend.id)) {
            backend.type = before->type;
            backend.path = before->path;
        }
        layout.backends.push_back(std::move(backend));
    }
    MIGRATE_TRY(add_devices(monitor, layout));
    layout.bytes = known.bytes;
    return layout;
}

Status check_same_layout(const MemoryLayout& opened, const MemoryLayout& now, LayoutSince since) {
    for (const MemoryBackend& backend : opened.backends) {
        MIGRATE_TRY(check_backend(backend, find_backend(now, backend.id)));
    }
    // Devices come first: their message says more than that of their backend alone.
    for (const MemoryDevice& device : now.devices) {
        if (find_device(opened, device) == nullptr) {
            return make_error("a {} was plugged", name_of(device));
        }
    }
    for (const MemoryBackend& backend : now.backends) {
        if (find_backend(opened, backend.id) == nullptr) {
            return make_error("a memory backend '{}' ({}) was added", backend.id,
                              in_mib(backend.size_bytes));
        }
    }
    for (const MemoryDevice& device : opened.devices) {
        MIGRATE_TRY(check_device(device, find_device(now, device), since));
    }
    const bool resized = since == LayoutSince::kLoaded &&
                         std::any_of(now.devices.begin(), now.devices.end(),
                                     [](const MemoryDevice& device) { return device.resizes; });
    if (opened.bytes == now.bytes || resized) return {};
    return make_error("it had {} of guest memory, and has {} now", in_mib(opened.bytes),
                      in_mib(now.bytes));
}

}  // namespace migrate::guest
