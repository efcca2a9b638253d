// SPDX-License-Identifier: Apache-2.0
#include "guest/external/throttle.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/log.hpp"
#include "guest/external/cgroup.hpp"

namespace migrate::guest {
namespace {

using std::chrono::microseconds;

// Same as the built-in guest's slice: the longest gap is one slice.
constexpr microseconds kSlice{10'000};
// The kernel's smallest quota, the period used here, and the kernel's longest period
// (Documentation/scheduler/sched-bwc.rst).
constexpr std::uint64_t kLeastQuotaUs = 1000;
constexpr std::uint64_t kPeriodUs = 10'000;
constexpr std::uint64_t kLongestPeriodUs = 1'000'000;

// A limit of CPU time per period, summed over CPUs.
struct Quota {
    std::uint64_t quota_us = 0;
    std::uint64_t period_us = 0;
};

// Parses "50000 100000" or "max 100000" (cgroup-v2.rst), "50000" or "-1" (sched-bwc.rst).
std::optional<Quota> parse_quota(const CpuKnob& knob, std::size_t cpus) {
    std::istringstream words(knob.before);
    std::string quota;
    Quota found{0, knob.period_us};
    words >> quota;
    if (!knob.version1) words >> found.period_us;
    if (!words || found.period_us == 0) return std::nullopt;
    const std::uint64_t all = cpus * found.period_us;
    if (quota == "max" || quota == "-1") return Quota{all, found.period_us};
    const auto parsed = std::from_chars(quota.data(), quota.data() + quota.size(), found.quota_us);
    if (parsed.ec != std::errc() || found.quota_us == 0) return std::nullopt;
    return Quota{std::min(found.quota_us, all), found.period_us};
}

}  // namespace

std::optional<std::string> cpu_quota(const CpuKnob& knob, std::size_t cpus, unsigned percent) {
    const std::optional<Quota> has = parse_quota(knob, cpus);
    if (!has) return std::nullopt;
    std::uint64_t period = knob.version1 ? has->period_us : kPeriodUs;
    const auto quota = [&] {
        return has->quota_us * (100 - percent) * period / (100 * has->period_us);
    };
    while (!knob.version1 && quota() < kLeastQuotaUs && period < kLongestPeriodUs) period *= 2;
    if (!knob.version1) period = std::min(period, kLongestPeriodUs);
    const std::uint64_t least = std::max(kLeastQuotaUs, quota());
    return knob.version1 ? fmt::format("{}", least) : fmt::format("{} {}", least, period);
}

CpuKnob find_cpu_knob(pid_t pid) {
    CpuKnob knob;
    if (const std::string group = own_cgroup(pid, "cpu.max", ""); !group.empty()) {
        knob.path = group + "/cpu.max";
    } else if (const std::string old = own_cgroup(pid, "cpu.cfs_quota_us", "cpu"); !old.empty()) {
        knob.path = old + "/cpu.cfs_quota_us";
        knob.version1 = true;
    } else {
        return {};
    }
    std::ifstream file(knob.path);
    if (!std::getline(file, knob.before) || ::access(knob.path.c_str(), W_OK) != 0) return {};
    if (knob.version1) {
        const std::filesystem::path folder = std::filesystem::path(knob.path).parent_path();
        std::ifstream period(folder / "cpu.cfs_period_us");
        period >> knob.period_us;
    }
    return cpu_quota(knob, 1, 1) ? knob : CpuKnob{};
}

Throttle::Throttle(const Guardian& guardian, pid_t pid, std::size_t cpus, CpuKnob knob)
    : guardian_(guardian),
      pid_(pid),
      cpus_(std::max<std::size_t>(1, cpus)),
      knob_(std::move(knob)) {}

std::unique_ptr<Throttle> Throttle::create(const Guardian& guardian, pid_t pid, std::size_t cpus) {
    return std::unique_ptr<Throttle>(
        new Throttle(guardian, pid, cpus, pid == 0 ? CpuKnob{} : find_cpu_knob(pid)));
}

Throttle::~Throttle() {
    const Status lifted = set(0);
    if (!lifted) log::error("the guest's throttle was not lifted: {}", lifted.error().message());
}

Status Throttle::set(unsigned percent) {
    if (percent > 99) return make_error("a throttle of {} percent; 99 is the most", percent);
    if (percent == percent_) return {};
    if (pid_ == 0) return make_error("the guest's process is not known, and cannot be throttled");
    if (percent_ == 0) {
        log::info("the guest is throttled by {}",
                  knob_.path.empty() ? "stopping its process by turns (it shares its cgroup)"
                                     : knob_.path);
    }
    percent_ = percent;
    return apply();
}

Status Throttle::hold() {
    held_ = true;
    return apply();
}

Status Throttle::release() {
    held_ = false;
    return apply();
}

Undo Throttle::undo() const {
    Undo undo;
    if (pid_ == 0) return undo;
    if (knob_.path.empty()) {
        undo.wake = true;
    } else {
        undo.files.emplace_back(knob_.path, knob_.before);
    }
    return undo;
}

Status Throttle::apply() {
    const unsigned percent = held_ ? 0 : percent_;
    if (!knob_.path.empty()) {
        const auto quota = percent == 0 ? knob_.before : cpu_quota(knob_, cpus_, percent);
        if (!quota) return make_error("{} holds '{}'", knob_.path, knob_.before);
        return write_knob(knob_.path, *quota);
    }
    {
        const MutexLock lock(mutex_);
        turns_percent_ = percent;
        changed_.notify_all();
    }
    if (percent != 0 && !thread_.joinable()) {
        const auto take = [this](const std::stop_token& stop) -> Status {
            take_turns(stop);
            return {};
        };
        MIGRATE_ASSIGN(thread_, Thread::start("throttle", take, [](const Error& error) {
                           log::error("the guest's throttle ends: {}", error.message());
                       }));
    }
    if (percent == 0 && thread_.joinable()) {
        thread_.request_stop();
        thread_.join();
        thread_ = {};
    }
    return {};
}

void Throttle::take_turns(const std::stop_token& stop) {
    MutexLock lock(mutex_);
    while (!stop.stop_requested()) {
        const microseconds taken = kSlice * turns_percent_ / 100;
        if (!guardian_.signal(SIGSTOP)) return;  // the process is gone
        changed_.pause(lock, stop, taken);
        static_cast<void>(guardian_.signal(SIGCONT));
        changed_.pause(lock, stop, kSlice - taken);
    }
}

}  // namespace migrate::guest
