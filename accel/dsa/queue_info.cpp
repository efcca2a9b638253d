// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa/queue_info.hpp"

#include <accel-config/libaccel_config.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>

namespace migrate::accel::dsa {

namespace fs = std::filesystem;

namespace {

// Returns the first line of a small file; empty if the file is missing.
std::string read_text(const fs::path& path) {
    std::ifstream file(path);
    std::string text;
    std::getline(file, text);
    return text;
}

// Parses a decimal number, or a hexadecimal one after 0x; nothing for anything else.
std::optional<std::int64_t> read_number(const fs::path& path) {
    const std::string text = read_text(path);
    const bool hex = text.starts_with("0x");
    std::int64_t value = 0;
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data() + (hex ? 2 : 0), end, value, hex ? 16 : 10);
    if (text.empty() || parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
    return value;
}

std::uint32_t clamp_to_u32(std::int64_t value) {
    return static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(value, 0, std::numeric_limits<std::uint32_t>::max()));
}

std::uint32_t read_u32(const fs::path& path, std::uint32_t missing) {
    const auto value = read_number(path);
    return value ? clamp_to_u32(*value) : missing;
}

// Returns D from the name "wqD.Q": D is the device's number, Q the queue's.
std::optional<std::string> device_number(std::string_view name) {
    if (!name.starts_with("wq")) return std::nullopt;
    const std::string_view numbers = name.substr(2);
    const std::size_t dot = numbers.find('.');
    const auto is_number = [](std::string_view text) {
        return !text.empty() && text.size() < 10 &&
               text.find_first_not_of("0123456789") == std::string_view::npos;
    };
    if (dot == std::string_view::npos || !is_number(numbers.substr(0, dot)) ||
        !is_number(numbers.substr(dot + 1))) {
        return std::nullopt;
    }
    return std::string(numbers.substr(0, dot));
}

struct Model {
    std::uint32_t pci_device;
    std::string_view processors;
};
// Source: the kernel's table of PCI devices for idxd.
constexpr std::array kModels = {
    Model{0x0b25, "Sapphire, Emerald or Granite Rapids"},
    Model{0x11fb, "Granite Rapids D"},
    Model{0x1212, "Diamond Rapids"},
};

// The obstacle that the queue does not execute COMPVAL, if it says so. BATCH is not looked for:
// devices of version 0x100 do not list it, and execute it.
std::optional<Obstacle> find_operation_obstacle(const QueueInfo& info) {
    if (has_operation(info.operations, Opcode::kCompval).value_or(true)) return std::nullopt;
    return Obstacle{
        fmt::format("it does not execute COMPVAL (operations {})", info.operations),
        fmt::format("allow it with 'accel-config config-wq {}/{} --op-config', or use another "
                    "device",
                    info.device, info.name)};
}

// Returns the obstacle to opening the node, if any.
std::optional<Obstacle> find_node_obstacle(const QueueInfo& info) {
    if (::access(info.path.c_str(), R_OK | W_OK) == 0) return std::nullopt;
    if (errno == ENOENT) {
        return Obstacle{fmt::format("{} does not exist", info.path),
                        "make the node visible here (a container needs it passed in)"};
    }
    return Obstacle{fmt::format("{}: {}", info.path, std::strerror(errno)),
                    fmt::format("sudo chown {} {}", ::geteuid(), info.path)};
}

void ignore_log(accfg_ctx* /*context*/, int /*priority*/, const char* /*file*/, int /*line*/,
                const char* /*function*/, const char* /*format*/, va_list /*arguments*/) {}

}  // namespace

Result<QueueInfo> read_queue_info(std::string_view name, const Places& places) {
    const auto number = device_number(name);
    if (!number) {
        return make_error(ErrorKind::kUsage,
                          "'{}' is not the name of a work queue: write wqD.Q, as in /dev/dsa/wq0.0",
                          name);
    }
    QueueInfo info;
    info.name = name;
    info.device = "dsa" + *number;
    info.path = places.nodes / name;
    const fs::path device = places.sysfs / info.device;
    const fs::path queue = device / name;
    if (std::error_code error; !fs::is_directory(queue, error)) {
        const Obstacle why = why_no_device(places);
        return make_error("there is no work queue {} ({} is missing): {}", name, queue.native(),
                          fs::is_directory(device, error)
                              ? fmt::format("{} has other queues", info.device)
                              : fmt::format("{}; {}", why.reason, why.remedy));
    }
    info.device_state = read_text(device / "state");
    info.state = read_text(queue / "state");
    info.type = read_text(queue / "type");
    info.mode = read_text(queue / "mode");
    info.size = read_u32(queue / "size", 0);
    info.threshold = read_u32(queue / "threshold", 0);
    info.clients = read_u32(queue / "clients", 0);
    info.version = read_u32(device / "version", 0);
    // The link to the device leads into the folder of its PCI device.
    if (const auto pci = read_number(device / ".." / "device"); pci && *pci <= 0xffff)
        info.model = model_of(static_cast<std::uint32_t>(*pci));
    info.operations = read_text(queue / "op_config");
    if (info.operations.empty()) info.operations = read_text(device / "op_cap");
    info.shared_virtual_addresses = read_number(device / "pasid_enabled").value_or(0) == 1;
    info.numa_node = static_cast<int>(
        std::clamp<std::int64_t>(read_number(device / "numa_node").value_or(-1), -1, 1 << 20));

    // The kernel's own bus has no such folder.
    std::error_code error;
    info.software = fs::is_directory(places.sysfs.parent_path() / "softdsa", error);

    QueueLimits& limits = info.limits;
    limits.mode = info.mode == "dedicated" ? QueueMode::kDedicated : QueueMode::kShared;
    // The portal for users takes descriptors up to the threshold.
    limits.entries = std::max(limits.mode == QueueMode::kShared && info.threshold != 0
                                  ? std::min(info.threshold, info.size)
                                  : info.size,
                              1U);
    const auto smaller = [&](const char* file) {
        return std::max(std::min(read_u32(device / file, 1), read_u32(queue / file, 1)), 1U);
    };
    limits.batch = smaller("max_batch_size");
    limits.transfer_bytes = smaller("max_transfer_size");
    return info;
}

std::optional<Obstacle> find_obstacle(const QueueInfo& info) {
    const std::string full_name = info.device + "/" + info.name;
    const std::string configure = fmt::format(
        "accel-config config-wq {} -g 0 -s 128 -p 10 -b 1 -t 128 -m shared -y user -n app1 -d "
        "user, "
        "then accel-config enable-wq {}",
        full_name, full_name);
    if (info.device_state != "enabled") {
        return Obstacle{fmt::format("the device {} is {}", info.device, info.device_state),
                        fmt::format("accel-config enable-device {}", info.device)};
    }
    if (info.type == "none") return Obstacle{"the queue is not configured", configure};
    if (info.type != "user") {
        return Obstacle{fmt::format("the queue is of type {}, not user", info.type), configure};
    }
    if (info.state != "enabled") {
        return Obstacle{fmt::format("the queue is {}", info.state),
                        fmt::format("accel-config enable-wq {}", full_name)};
    }
    if (info.mode != "shared" && info.mode != "dedicated") {
        return Obstacle{fmt::format("the queue's mode is '{}'", info.mode), configure};
    }
    if (!info.shared_virtual_addresses) {
        return Obstacle{"shared virtual addresses are off (pasid_enabled is 0)",
                        "put intel_iommu=on,sm_on on the kernel's command line and reboot"};
    }
    if (info.limits.transfer_bytes < 4096) {
        return Obstacle{fmt::format("its max_transfer_size is {} bytes, less than a page",
                                    info.limits.transfer_bytes),
                        fmt::format("accel-config config-wq {} -x 2097152", full_name)};
    }
    if (auto obstacle = find_operation_obstacle(info)) return obstacle;
    if (info.limits.mode == QueueMode::kDedicated && info.clients != 0) {
        return Obstacle{"a dedicated queue serves one process, and one has it open",
                        "end that process, or use a shared queue"};
    }
    return find_node_obstacle(info);
}

std::string what_is_disabled(const QueueInfo& info, const Places& places) {
    const fs::path device = places.sysfs / info.device;
    const std::string device_state = read_text(device / "state");
    const std::string state = read_text(device / info.name / "state");
    // A device that is disabled has disabled its queues first.
    if (!device_state.empty() && device_state != "enabled")
        return fmt::format("the device {} is {}", info.device, device_state);
    if (!state.empty() && state != "enabled") return fmt::format("the queue is {}", state);
    return {};
}

std::string_view model_of(std::uint32_t pci_device) {
    const auto model = std::ranges::find(kModels, pci_device, &Model::pci_device);
    return model == kModels.end() ? std::string_view() : model->processors;
}

std::optional<bool> has_operation(std::string_view words, Opcode opcode) {
    // From the end: the last word has the operations 0 to 31.
    auto skip = static_cast<unsigned>(opcode) / 32;
    for (; skip != 0; --skip) {
        const std::size_t comma = words.rfind(',');
        if (comma == std::string_view::npos) return std::nullopt;
        words = words.substr(0, comma);
    }
    words = words.substr(words.rfind(',') + 1);  // npos + 1 is 0: there is no comma
    std::uint32_t bits = 0;
    const char* const end = words.data() + words.size();
    const auto parsed = std::from_chars(words.data(), end, bits, 16);
    if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
    return (bits >> (static_cast<unsigned>(opcode) % 32) & 1) != 0;
}

Obstacle why_no_device(const Places& places) {
    std::error_code error;
    if (!fs::is_directory(places.sysfs, error)) {
        return {"the kernel's driver idxd is not loaded",
                "modprobe idxd (Linux 5.18 or newer; 'lspci -d 8086:0b25', or with :11fb or :1212 "
                "for newer processors, lists the hardware)"};
    }
    return {"the kernel's driver idxd found no DSA device",
            "see 'lspci -d 8086:0b25' (:11fb or :1212 for newer processors) and the BIOS; kernel "
            "command line: intel_iommu=on,sm_on"};
}

Result<std::vector<QueueInfo>> discover_queues() {
    accfg_ctx* raw = nullptr;
    if (const int error = ::accfg_new(&raw); error < 0) {
        return Error::system("list DSA devices (libaccel-config)", -error);
    }
    const std::unique_ptr<accfg_ctx, decltype(&::accfg_unref)> context(raw, &::accfg_unref);
    // Without this the library logs to stderr.
    ::accfg_set_log_fn(context.get(), ignore_log);
    std::vector<std::string> names;
    accfg_device* device = nullptr;
    accfg_device_foreach(context.get(), device) {
        if (::accfg_device_get_type(device) != ACCFG_DEVICE_DSA) continue;
        accfg_wq* queue = nullptr;
        accfg_wq_foreach(device, queue) names.emplace_back(::accfg_wq_get_devname(queue));
    }
    // The library lists a device without groups again on every request.
    std::ranges::sort(names);
    names.erase(std::unique(names.begin(), names.end()), names.end());
    std::vector<QueueInfo> queues;
    for (const std::string& name : names) {
        MIGRATE_ASSIGN(QueueInfo info, read_queue_info(name));
        queues.push_back(std::move(info));
    }
    return queues;
}

}  // namespace migrate::accel::dsa
