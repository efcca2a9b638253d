// SPDX-License-Identifier: Apache-2.0
#include "accel/dsa_accelerator.hpp"

#include <algorithm>
#include <filesystem>
#include <map>

#include "accel/accel_path.hpp"
#include "accel/dsa/device_portal.hpp"
#include "accel/dsa/dsa_page_scanner.hpp"
#include "accel/dsa/queue_info.hpp"
#include "accel/softdsa/in_process.hpp"
#include "base/log.hpp"

namespace migrate::accel {

namespace {

using Portals = std::vector<std::unique_ptr<dsa::Portal>>;

// Opens every usable queue; an Error says for each queue why it is not usable.
Result<Portals> open_all() {
    MIGRATE_ASSIGN(const auto queues, dsa::discover_queues());
    Portals portals;
    std::string reasons;
    for (const dsa::QueueInfo& info : queues) {
        auto portal = dsa::open_device_portal(info);
        if (portal) {
            portals.push_back(*std::move(portal));
        } else {
            log::info("a work queue is not used: {}", portal.error().message());
            reasons += fmt::format("\n  {}", portal.error().message());
        }
    }
    if (!portals.empty()) return portals;
    if (queues.empty()) {
        const dsa::Obstacle why = dsa::why_no_device();
        return make_error(
            "zero-page-detection=dsa-accel: {}; {}. Without the hardware, accel-path=softdsa:1 "
            "runs a software device",
            why.reason, why.remedy);
    }
    return make_error("zero-page-detection=dsa-accel: no work queue can be used:{}", reasons);
}

Result<Portals> open_paths(const std::vector<AccelPath>& paths) {
    Portals portals;
    for (const AccelPath& path : paths) {
        if (path.kind == AccelPath::Kind::kSoftware) {
            MIGRATE_ASSIGN(Portals opened, softdsa::open_in_process(path.text));
            std::ranges::move(opened, std::back_inserter(portals));
            continue;
        }
        MIGRATE_ASSIGN(dsa::QueueInfo info,
                       dsa::read_queue_info(std::filesystem::path(path.text).filename().native()));
        info.path = path.text;
        MIGRATE_ASSIGN(auto portal, dsa::open_device_portal(info));
        portals.push_back(std::move(portal));
    }
    return portals;
}

AccelCounts counts_of(const dsa::QueueCounters& counters) {
    const auto get = [](const dsa::QueueCounters::Count& count) {
        return count.load(std::memory_order_relaxed);
    };
    return {.batches = get(counters.batches),
            .descriptors = get(counters.descriptors),
            .retries = get(counters.retries),
            .full = get(counters.full),
            .page_faults = get(counters.page_faults),
            .list_faults = get(counters.list_faults),
            .record_faults = get(counters.record_faults),
            .bad_statuses = get(counters.bad_statuses),
            .timeouts = get(counters.timeouts),
            .late_pages = get(counters.late_pages),
            .times_left = get(counters.times_left),
            .cpu_pages = get(counters.cpu_pages),
            .looked_at = get(counters.looked_at),
            .prefiltered = get(counters.prefiltered),
            .verified = get(counters.verified),
            .device_time = std::chrono::nanoseconds(get(counters.device_ns)),
            .wait_time = std::chrono::nanoseconds(get(counters.wait_ns))};
}

double quotient(std::uint64_t time_ns, std::uint64_t pages) {
    return pages == 0 ? 0 : static_cast<double>(time_ns) / static_cast<double>(pages);
}

AccelShareReport share_of(const std::vector<std::unique_ptr<dsa::ShareFigures>>& channels) {
    std::uint64_t cpu_pages = 0;
    std::uint64_t cpu_ns = 0;
    std::uint64_t device_pages = 0;
    std::uint64_t device_ns = 0;
    std::uint64_t overhead_ns = 0;
    std::map<dsa::ShareReason, unsigned> reasons;
    for (const auto& channel : channels) {
        cpu_pages += channel->cpu_pages.load(std::memory_order_relaxed);
        cpu_ns += channel->cpu_ns.load(std::memory_order_relaxed);
        device_pages += channel->device_pages.load(std::memory_order_relaxed);
        device_ns += channel->device_ns.load(std::memory_order_relaxed);
        overhead_ns += channel->overhead_ns.load(std::memory_order_relaxed);
        ++reasons[channel->reason.load(std::memory_order_relaxed)];
    }
    AccelShareReport report{.device_part = quotient(device_pages, device_pages + cpu_pages),
                            .cpu_ns = quotient(cpu_ns, cpu_pages),
                            .device_ns = quotient(device_ns, device_pages),
                            .overhead_ns = quotient(overhead_ns, device_pages),
                            .reason = {}};
    const auto most =
        std::ranges::max_element(reasons, {}, [](const auto& each) { return each.second; });
    if (most != reasons.end()) report.reason = dsa::text_of(most->first);
    return report;
}

}  // namespace

AccelCounts& AccelCounts::operator+=(const AccelCounts& other) {
    batches += other.batches;
    descriptors += other.descriptors;
    retries += other.retries;
    full += other.full;
    page_faults += other.page_faults;
    list_faults += other.list_faults;
    record_faults += other.record_faults;
    bad_statuses += other.bad_statuses;
    timeouts += other.timeouts;
    late_pages += other.late_pages;
    times_left += other.times_left;
    cpu_pages += other.cpu_pages;
    looked_at += other.looked_at;
    prefiltered += other.prefiltered;
    verified += other.verified;
    device_time += other.device_time;
    wait_time += other.wait_time;
    return *this;
}

AccelCounts AccelReport::total() const {
    AccelCounts sum;
    for (const AccelQueueReport& queue : queues) sum += queue.counts;
    return sum;
}

DsaAccelerator::DsaAccelerator(const Options& options,
                               std::vector<std::unique_ptr<dsa::WorkQueue>> queues)
    : options_(options), inline_(time_), queues_(std::move(queues)) {
    if (options_.completion == CompletionModel::kThread) {
        threaded_ = std::make_unique<dsa::ThreadCompletion>(time_);
    }
}

DsaAccelerator::~DsaAccelerator() = default;

Result<std::unique_ptr<DsaAccelerator>> DsaAccelerator::open(const Options& options) {
    MIGRATE_ASSIGN(const auto paths, parse_accel_path(options.path));
    MIGRATE_ASSIGN(Portals portals, paths.empty() ? open_all() : open_paths(paths));
    // A device with an unknown node counts as near.
    std::ranges::stable_sort(portals, {}, [&](const std::unique_ptr<dsa::Portal>& portal) {
        const int node = portal->numa_node();
        return options.numa_node >= 0 && node >= 0 && node != options.numa_node;
    });
    std::vector<std::unique_ptr<dsa::WorkQueue>> queues;
    for (auto& portal : portals) {
        const dsa::QueueLimits& limits = portal->limits();
        log::info("zero pages are found by {} ({}, {} entries, batches of {}, by {}){}",
                  portal->name(), name_of(limits.mode), limits.entries, limits.batch,
                  portal->access(), portal->is_software() ? ", a software device" : "");
        queues.push_back(std::make_unique<dsa::WorkQueue>(std::move(portal)));
    }
    return std::unique_ptr<DsaAccelerator>(new DsaAccelerator(options, std::move(queues)));
}

Result<std::unique_ptr<PageScanner>> DsaAccelerator::make_scanner(std::size_t channel,
                                                                  const ZeroKernel& kernel) {
    std::vector<dsa::WorkQueue*> order;
    for (std::size_t i = 0; i < queues_.size(); ++i)
        order.push_back(queues_[(channel + i) % queues_.size()].get());
    dsa::Completion& completion = threaded_ ? static_cast<dsa::Completion&>(*threaded_) : inline_;
    auto figures = std::make_unique<dsa::ShareFigures>();
    MIGRATE_ASSIGN(std::unique_ptr<PageScanner> scanner,
                   dsa::DsaPageScanner::create(std::move(order), completion, kernel,
                                               {.batch_pages = options_.batch_pages,
                                                .verify_every = options_.verify_every,
                                                .timeout = options_.timeout,
                                                .share = options_.share,
                                                .prefilter = options_.prefilter,
                                                .figures = figures.get()}));
    const MutexLock lock(mutex_);
    figures_.push_back(std::move(figures));
    return scanner;
}

void DsaAccelerator::run_completion(const std::stop_token& stop) { threaded_->run(stop); }

AccelReport DsaAccelerator::report() const {
    AccelReport report;
    report.completion = options_.completion;
    {
        const MutexLock lock(mutex_);
        report.share = share_of(figures_);
    }
    for (const auto& queue : queues_) {
        const dsa::Portal& portal = queue->portal();
        report.software = report.software || portal.is_software();
        report.queues.push_back({.name = portal.name(),
                                 .mode = std::string(name_of(portal.limits().mode)),
                                 .numa_node = portal.numa_node(),
                                 .software = portal.is_software(),
                                 .disabled = !queue->alive(),
                                 .left = queue->left(),
                                 .trouble = queue->trouble(),
                                 .counts = counts_of(queue->counters())});
    }
    return report;
}

}  // namespace migrate::accel
