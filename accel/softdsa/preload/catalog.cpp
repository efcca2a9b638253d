#include "accel/softdsa/preload/catalog.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>

namespace migrate::accel::softdsa::preload {
namespace {

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// Reads the file without its final newline. Files of sysfs are shorter than a page.
std::optional<std::string> read_value(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return std::nullopt;
    std::array<char, 4096> text{};
    const ssize_t bytes = ::read(fd, text.data(), text.size());
    ::close(fd);
    if (bytes < 0) return std::nullopt;
    std::string value(text.data(), static_cast<std::size_t>(bytes));
    if (value.ends_with('\n')) value.pop_back();
    return value;
}

// Parses whole numbers, hexadecimal ones with "0x".
std::optional<std::uint64_t> parse_number(std::string_view text) {
    const int base = text.starts_with("0x") ? 16 : 10;
    if (base == 16) text.remove_prefix(2);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

// Reads the files of one folder, and keeps the first error.
class Folder {
  public:
    Folder(std::string path, std::string& error) : path_(std::move(path)), error_(error) {}

    std::string path(const std::string& name) const { return path_ + "/" + name; }
    std::uint32_t number(const char* name, std::uint64_t least, std::uint64_t most) const {
        const auto text = read_value(path(name));
        const auto value = text ? parse_number(*text) : std::nullopt;
        if (value && *value >= least && *value <= most) return static_cast<std::uint32_t>(*value);
        if (error_.empty()) {
            error_ = path(name) + " is not a number from " + std::to_string(least) + " to " +
                     std::to_string(most);
        }
        return static_cast<std::uint32_t>(least);
    }

  private:
    std::string path_;
    std::string& error_;
};

constexpr std::uint64_t kMostSize = 4096;  // limit of QueueConfig::size
constexpr std::uint64_t kMostEngines = 16;
constexpr std::uint64_t kMost32 = std::numeric_limits<std::uint32_t>::max();

QueueConfig read_queue(const Folder& folder, bool first_version) {
    QueueConfig queue;
    const auto mode = read_value(folder.path("mode"));
    if (mode && *mode == "dedicated") queue.mode = dsa::QueueMode::kDedicated;
    queue.size = folder.number("size", 1, kMostSize);
    queue.threshold = folder.number("threshold", 0, kMostSize);
    queue.max_batch = folder.number("max_batch_size", 1, kMost32);
    queue.max_transfer = folder.number("max_transfer_size", 1, kMost32);
    queue.block_on_fault = folder.number("block_on_fault", 0, 1) != 0;
    queue.write_retries = folder.number("enqcmds_retries", 0, 64);
    queue.refuse_batch_by_write = first_version;
    if (!first_version) queue.operations |= kDeltaOperations;
    return queue;
}

// Parses "LATENCY_NS,DESCRIPTOR_NS,BYTES_PER_SECOND", or an empty text for no timing.
std::optional<Timing> parse_timing(std::string_view text) {
    Timing timing;
    if (text.empty()) return timing;
    std::array<std::uint64_t*, 3> fields{&timing.latency_ns, &timing.descriptor_ns,
                                         &timing.bytes_per_second};
    for (std::uint64_t* field : fields) {
        const std::size_t comma = std::min(text.find(','), text.size());
        const auto number = parse_number(text.substr(0, comma));
        if (!number) return std::nullopt;
        *field = *number;
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    if (!text.empty() || timing.bytes_per_second == 0) return std::nullopt;
    timing.enabled = true;
    return timing;
}

std::string node_path(const std::string& folder, const std::string& name) {
    return folder + "/" + name;
}

void read_device(Catalog& catalog, const std::string& base, const std::string& nodes) {
    const std::string number = std::to_string(catalog.devices.size());
    const Folder folder(base, catalog.error);
    const bool first_version = folder.number("version", 0, kMost32) == 0x100;
    DeviceConfig device;
    device.queues.clear();
    // Configured queues come first.
    for (;;) {
        const std::string name = "wq" + number + "." + std::to_string(device.queues.size());
        if (read_value(folder.path(name + "/state")) != "enabled") break;
        device.queues.push_back(
            read_queue(Folder(folder.path(name), catalog.error), first_version));
        const std::string path = node_path(nodes, name);
        struct stat status {};
        if (::stat(path.c_str(), &status) != 0) {
            catalog.error = path + " is missing";
            return;
        }
        catalog.nodes.push_back({status.st_dev, status.st_ino, catalog.devices.size(),
                                 device.queues.size() - 1,
                                 device.queues.back().mode == dsa::QueueMode::kDedicated});
    }
    catalog.devices.push_back(std::move(device));
}

}  // namespace

Catalog read_catalog(const std::string& sysfs, const std::string& nodes) {
    Catalog catalog;
    const auto timing_text = read_value(sysfs + "/softdsa/timing");
    const auto plan_text = read_value(sysfs + "/softdsa/faults");
    if (!timing_text || !plan_text) return catalog;
    const auto timing = parse_timing(*timing_text);
    if (!timing) {
        catalog.error =
            "the timing '" + *timing_text + "' is not LATENCY_NS,DESCRIPTOR_NS,BYTES_PER_SECOND";
        return catalog;
    }
    const std::uint32_t engines =
        Folder(sysfs + "/softdsa", catalog.error).number("engines", 0, kMostEngines);
    if (!catalog.error.empty()) return catalog;
    const ParsedFaultPlan faults = parse_fault_plan(*plan_text);
    if (!faults.error.empty()) {
        catalog.error = "the fault plan '" + *plan_text + "': " + faults.error;
        return catalog;
    }
    for (;;) {
        const std::string base = sysfs + "/devices/dsa" + std::to_string(catalog.devices.size());
        if (!exists(base)) break;
        read_device(catalog, base, nodes);
        if (!catalog.error.empty()) return catalog;
        catalog.devices.back().engines = engines;
        catalog.devices.back().timing = *timing;
        catalog.devices.back().faults = faults.plan;
        // Different seeds keep the devices from failing at the same time.
        catalog.devices.back().faults.seed += catalog.devices.size() - 1;
    }
    return catalog;
}

}  // namespace migrate::accel::softdsa::preload
