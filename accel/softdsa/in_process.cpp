#include "accel/softdsa/in_process.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "base/config/unit_text.hpp"

namespace migrate::accel::softdsa {
namespace {

class SoftwarePortal final : public dsa::Portal {
  public:
    SoftwarePortal(std::shared_ptr<Device> device, std::size_t queue, std::string name)
        : device_(std::move(device)), queue_(queue), name_(std::move(name)) {
        const QueueConfig& config = device_->queue(queue);
        limits_ = {.mode = config.mode,
                   .entries = device_->entries(queue),
                   .batch = std::max(config.max_batch, 1U),
                   .transfer_bytes = config.max_transfer};
    }

    const std::string& name() const override { return name_; }
    const dsa::QueueLimits& limits() const override { return limits_; }
    int numa_node() const override { return -1; }
    bool is_software() const override { return true; }

    std::size_t submit(std::span<const dsa::Descriptor> descriptors) override {
        if (limits_.mode == dsa::QueueMode::kDedicated) {
            for (const dsa::Descriptor& descriptor : descriptors)
                device_->movdir64b(queue_, descriptor);
            return descriptors.size();
        }
        std::size_t taken = 0;
        while (taken < descriptors.size() && device_->enqcmd(queue_, descriptors[taken])) ++taken;
        return taken;
    }

  private:
    std::shared_ptr<Device> device_;
    std::size_t queue_;
    std::string name_;
    dsa::QueueLimits limits_;
};

template <typename... Args>
Error word_error(std::string_view word, fmt::format_string<Args...> format, Args&&... args) {
    return make_error(ErrorKind::kUsage, "'{}' in softdsa: {}", word,
                      fmt::format(format, std::forward<Args>(args)...));
}

// The parsed words, from which the configuration is made.
struct Words {
    std::uint64_t queues = 1;
    InProcessConfig config;
    QueueConfig queue;
};

struct NumberWord {
    std::string_view name;
    std::uint64_t least;
    std::uint64_t most;
    void (*set)(Words&, std::uint64_t);
};
constexpr std::uint64_t kMost = 1'000'000'000'000;
constexpr auto kNumberWords = std::to_array<NumberWord>({
    {"queues", 1, 8, [](Words& words, std::uint64_t value) { words.queues = value; }},
    {"devices", 1, 8,
     [](Words& words, std::uint64_t value) {
         words.config.devices = static_cast<std::uint32_t>(value);
     }},
    {"size", 1, 4096,
     [](Words& words, std::uint64_t value) {
         words.queue.size = static_cast<std::uint32_t>(value);
     }},
    {"threshold", 1, 4096,
     [](Words& words, std::uint64_t value) {
         words.queue.threshold = static_cast<std::uint32_t>(value);
     }},
    {"batch", 1, 1024,
     [](Words& words, std::uint64_t value) {
         words.queue.max_batch = static_cast<std::uint32_t>(value);
     }},
    {"transfer", 1, 1ULL << 31U,
     [](Words& words, std::uint64_t value) {
         words.queue.max_transfer = static_cast<std::uint32_t>(value);
     }},
    {"engines", 1, 16,
     [](Words& words, std::uint64_t value) {
         words.config.device.engines = static_cast<std::uint32_t>(value);
     }},
    {"latency", 0, 60'000'000'000,
     [](Words& words, std::uint64_t value) {
         words.config.device.timing.enabled = true;
         words.config.device.timing.latency_ns = value;
     }},
    {"rate", 1, kMost,
     [](Words& words, std::uint64_t value) {
         words.config.device.timing.enabled = true;
         words.config.device.timing.bytes_per_second = value;
     }},
});

Result<bool> parse_switch(std::string_view word, std::string_view value) {
    if (value != "on" && value != "off") return word_error(word, "it is on or off");
    return value == "on";
}

Status parse_word(std::string_view word, Words& words) {
    const std::size_t equals = word.find('=');
    const std::string_view name =
        equals == std::string_view::npos ? std::string_view("queues") : word.substr(0, equals);
    const std::string_view value =
        equals == std::string_view::npos ? word : word.substr(equals + 1);
    for (const NumberWord& row : kNumberWords) {
        if (row.name != name) continue;
        const auto number = parse_bytes(value);
        if (!number || *number < row.least || *number > row.most)
            return word_error(word, "{} is a number from {} to {}", name, row.least, row.most);
        row.set(words, *number);
        return {};
    }
    if (name == "mode") {
        if (value != "shared" && value != "dedicated")
            return word_error(word, "the mode is shared or dedicated");
        words.queue.mode = value == "shared" ? dsa::QueueMode::kShared : dsa::QueueMode::kDedicated;
    } else if (name == "timing") {
        MIGRATE_ASSIGN(words.config.device.timing.enabled, parse_switch(word, value));
    } else if (name == "block-on-fault") {
        MIGRATE_ASSIGN(words.queue.block_on_fault, parse_switch(word, value));
    } else if (name == "faults") {
        ParsedFaultPlan parsed = parse_fault_plan(value);
        if (!parsed.error.empty()) return word_error(word, "{}", parsed.error);
        words.config.device.faults = std::move(parsed.plan);
    } else {
        return word_error(word, "there is no such word");
    }
    return {};
}

}  // namespace

Result<InProcessConfig> parse_in_process(std::string_view text) {
    Words words;
    while (!text.empty()) {
        const std::size_t end = text.find(',');
        MIGRATE_TRY(parse_word(text.substr(0, end), words));
        if (end == std::string_view::npos) break;
        text.remove_prefix(end + 1);
        if (text.empty()) return word_error(",", "a word is missing at the end");
    }
    if (words.queue.threshold > words.queue.size) {
        return word_error("threshold", "{} is more than the queue's size of {}",
                          words.queue.threshold, words.queue.size);
    }
    words.config.device.queues.assign(words.queues, words.queue);
    return std::move(words.config);
}

Result<std::vector<std::unique_ptr<dsa::Portal>>> open_portals(
    const std::shared_ptr<Device>& device, std::uint32_t number) {
    std::vector<std::unique_ptr<dsa::Portal>> portals;
    for (std::size_t queue = 0; queue < device->queue_count(); ++queue) {
        std::string name = fmt::format("softdsa:{}.{}", number, queue);
        if (const int error = device->open_error(queue); error != 0)
            return Error::system(fmt::format("open {}", name), error);
        if (const int error = device->map_error(queue); error != 0)
            return Error::system(fmt::format("map the portal of {}", name), error);
        portals.push_back(std::make_unique<SoftwarePortal>(device, queue, std::move(name)));
    }
    return portals;
}

Result<std::vector<std::unique_ptr<dsa::Portal>>> open_in_process(std::string_view text) {
    MIGRATE_ASSIGN(InProcessConfig config, parse_in_process(text));
    std::vector<std::unique_ptr<dsa::Portal>> all;
    for (std::uint32_t number = 0; number < config.devices; ++number) {
        const auto device = std::make_shared<Device>(config.device);
        if (const int error = device->start(); error != 0)
            return Error::system(fmt::format("start the software DSA device {}", number), error);
        MIGRATE_ASSIGN(auto portals, open_portals(device, number));
        std::move(portals.begin(), portals.end(), std::back_inserter(all));
        ++config.device.faults.seed;
    }
    return all;
}

}  // namespace migrate::accel::softdsa
