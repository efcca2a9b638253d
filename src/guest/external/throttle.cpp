#include "guest/external/throttle.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <utility>

#include "base/log.hpp"
#include "base/thread.hpp"
#include "guest/external/cgroup.hpp"

namespace migrate::guest {
namespace {

using std::chrono::microseconds;

// As the built-in guest's: its longest gap is a slice.
constexpr microseconds kSlice{10'000};
// The kernel's least quota, and its usual period (Documentation/scheduler/sched-bwc.rst).
constexpr std::uint64_t kLeastQuotaUs = 1000;
constexpr std::uint64_t kPeriodUs = 10'000;
constexpr std::uint64_t kLongestPeriodUs = 1'000'000;

}  // namespace

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
    return knob;
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
        if (percent == 0) return write_knob(knob_.path, knob_.before);
        const std::uint64_t share = cpus_ * (100 - percent);
        std::uint64_t period = kPeriodUs;
        // Version 1 has its period in another file, which is usually 100 ms.
        if (knob_.version1) period = 100'000;
        while (!knob_.version1 && share * period / 100 < kLeastQuotaUs &&
               period < kLongestPeriodUs) {
            period *= 2;
        }
        const std::uint64_t quota = std::max(kLeastQuotaUs, share * period / 100);
        return write_knob(knob_.path, knob_.version1 ? fmt::format("{}", quota)
                                                     : fmt::format("{} {}", quota, period));
    }
    {
        const std::scoped_lock lock(mutex_);
        turns_percent_ = percent;
        changed_.notify_all();
    }
    if (percent != 0 && !thread_.joinable()) {
        thread_ = std::jthread([this](const std::stop_token& stop) { take_turns(stop); });
    }
    if (percent == 0 && thread_.joinable()) {
        thread_.request_stop();
        thread_.join();
        thread_ = {};
    }
    return {};
}

void Throttle::take_turns(const std::stop_token& stop) {
    name_this_thread("throttle");
    std::unique_lock lock(mutex_);
    const auto wait = [&](microseconds time) {
        changed_.wait_for(lock, stop, time, [] { return false; });
    };
    while (!stop.stop_requested()) {
        const microseconds taken = kSlice * turns_percent_ / 100;
        if (!guardian_.signal(SIGSTOP)) return;  // it is gone
        wait(taken);
        static_cast<void>(guardian_.signal(SIGCONT));
        wait(kSlice - taken);
    }
}

}  // namespace migrate::guest
