// SPDX-License-Identifier: Apache-2.0
#include "base/cpu_load.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <thread>

#include "base/fd.hpp"

namespace migrate {
namespace {

std::optional<CpuTicks> read_cpu_ticks() {
    const UniqueFd file(::open("/proc/stat", O_RDONLY | O_CLOEXEC));
    std::array<char, 256> line{};
    if (!file || ::read(file.get(), line.data(), line.size() - 1) <= 0) return std::nullopt;
    return parse_cpu_ticks(line.data());
}

// Time for which the threads of this process ran or waited for a CPU (schedstat, see the kernel's
// Documentation/scheduler/sched-stats).
std::optional<std::chrono::nanoseconds> wanted_time() {
    const std::unique_ptr<DIR, int (*)(DIR*)> tasks(::opendir("/proc/self/task"), ::closedir);
    if (!tasks) return std::nullopt;
    std::chrono::nanoseconds sum{};
    while (const dirent* task = ::readdir(tasks.get())) {
        if (task->d_name[0] == '.') continue;
        const std::string path = std::string(task->d_name) + "/schedstat";
        const UniqueFd file(::openat(::dirfd(tasks.get()), path.c_str(), O_RDONLY | O_CLOEXEC));
        std::array<char, 128> line{};
        std::int64_t ran = 0;
        std::int64_t waited = 0;
        if (!file || ::read(file.get(), line.data(), line.size() - 1) <= 0 ||
            std::sscanf(line.data(), "%" SCNd64 " %" SCNd64, &ran, &waited) != 2) {
            continue;
        }
        sum += std::chrono::nanoseconds(ran + waited);
    }
    if (sum.count() == 0) return std::nullopt;
    return sum;
}

std::chrono::nanoseconds process_cpu_time() {
    timespec time{};
    if (::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) != 0) return {};
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

std::optional<CpuTicks> parse_cpu_ticks(const char* line) {
    // user, nice, system, idle, iowait, irq, softirq, steal (proc(5)). The guests' time is part of
    // user and nice.
    std::array<std::uint64_t, 8> ticks{};
    if (std::sscanf(line,
                    "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                    " %" SCNu64 " %" SCNu64,
                    &ticks[0], &ticks[1], &ticks[2], &ticks[3], &ticks[4], &ticks[5], &ticks[6],
                    &ticks[7]) != static_cast<int>(ticks.size())) {
        return std::nullopt;
    }
    CpuTicks sum{.all = 0, .idle = ticks[3] + ticks[4]};
    for (const std::uint64_t part : ticks) sum.all += part;
    return sum;
}

unsigned usable_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    // A host with more CPUs than the set holds fails here.
    if (::sched_getaffinity(0, sizeof set, &set) == 0) {
        return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
    }
    return std::max(1U, std::thread::hardware_concurrency());
}

CpuLoad::CpuLoad()
    : at_(std::chrono::steady_clock::now()),
      ticks_(read_cpu_ticks()),
      used_(process_cpu_time()),
      wanted_(wanted_time()) {}

CpuUse CpuLoad::since_last() {
    CpuLoad now;
    std::swap(*this, now);
    const CpuLoad& before = now;
    const double passed = std::chrono::duration<double>(at_ - before.at_).count();
    CpuUse use;
    if (passed <= 0) return use;
    if (ticks_ && before.ticks_ && ticks_->all > before.ticks_->all) {
        const double host = static_cast<double>(ticks_->idle - before.ticks_->idle) /
                            static_cast<double>(ticks_->all - before.ticks_->all);
        const double own =
            std::chrono::duration<double>(used_ - before.used_).count() / (passed * usable_cpus());
        use.idle_share = std::clamp(std::min(host, 1.0 - own), 0.0, 1.0);
    }
    // Threads that have ended take their time with them.
    if (wanted_ && before.wanted_ && *wanted_ >= *before.wanted_) {
        use.wanted_cpus =
            std::chrono::duration<double>(*wanted_ - *before.wanted_).count() / passed;
    }
    return use;
}

}  // namespace migrate
