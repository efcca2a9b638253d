// SPDX-License-Identifier: Apache-2.0
#include "accel/softdsa/in_process.hpp"

#include <algorithm>
#include <utility>

#include "base/config/form_tables.hpp"

namespace migrate::accel::softdsa {
namespace {

class SoftwarePortal final : public dsa::Portal {
  public:
    SoftwarePortal(std::shared_ptr<Device> device, std::size_t queue, std::string name)
        : device_(std::move(device)), queue_(queue), name_(std::move(name)) {
        const QueueConfig config = device_->queue(queue);
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

const Form& software_form() {
    return *std::find_if(kAccelForms.begin(), kAccelForms.end(),
                         [](const Form& form) { return form.name == "softdsa"; });
}

QueueConfig queue_config(const Words<kSoftDsaWords>& words) {
    QueueConfig queue;
    queue.mode = words.get<"mode", QueueMode>();
    queue.size = words.get<"size", std::uint32_t>();
    queue.threshold = words.get<"threshold", std::uint32_t>();
    queue.max_batch = words.get<"batch", std::uint32_t>();
    queue.max_transfer = words.get<"transfer", std::uint32_t>();
    queue.block_on_fault = words.get<"block-on-fault">();
    return queue;
}

}  // namespace

Result<InProcessConfig> parse_in_process(std::string_view text) {
    MIGRATE_ASSIGN(const ParsedForm parsed, parse_words(software_form(), text));
    const Words<kSoftDsaWords> words(parsed);
    InProcessConfig config;
    config.devices = words.get<"devices", std::uint32_t>();
    config.device.engines = words.get<"engines", std::uint32_t>();
    Timing& timing = config.device.timing;
    timing.enabled = words.get<"timing">() || words.has<"latency">() || words.has<"rate">();
    if (words.has<"latency">()) timing.latency_ns = words.get<"latency">();
    if (words.has<"rate">()) timing.bytes_per_second = words.get<"rate">();
    const QueueConfig queue = queue_config(words);
    if (queue.threshold > queue.size) {
        return make_error(ErrorKind::kUsage, "threshold: {} is more than the queue's size, {}",
                          queue.threshold, queue.size);
    }
    config.device.queues.assign(parsed.operand.value.number, queue);
    if (words.has<"faults">()) {
        ParsedFaultPlan plan = parse_fault_plan(words.get<"faults">());
        if (!plan.error.empty()) {
            return make_error(ErrorKind::kUsage, "faults: {}", plan.error);
        }
        config.device.faults = std::move(plan.plan);
    }
    return config;
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
    auto parsed = parse_in_process(text);
    if (!parsed) {
        return std::move(parsed).error().with_context(
            fmt::format("option accel-path: 'softdsa:{}'", text));
    }
    InProcessConfig config = *std::move(parsed);
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
