// SPDX-License-Identifier: Apache-2.0
#include "bench/peak_memory.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "base/units.hpp"

namespace migrate::bench {
namespace {

constexpr std::chrono::milliseconds kPeakInterval{5};

// Nothing once the process has ended.
std::uint64_t high_water_bytes(int status) {
    std::array<char, 4096> buffer{};
    const ssize_t length = ::pread(status, buffer.data(), buffer.size() - 1, 0);
    if (length <= 0) return 0;
    const std::string text(buffer.data(), static_cast<std::size_t>(length));
    constexpr std::string_view kKey = "VmHWM:";
    const std::size_t at = text.find(kKey);
    if (at == std::string::npos) return 0;
    return std::strtoull(text.c_str() + at + kKey.size(), nullptr, 10) * kKiB;
}

}  // namespace

Result<std::unique_ptr<PeakMemory>> PeakMemory::watch(pid_t pid) {
    UniqueFd status(::open(fmt::format("/proc/{}/status", pid).c_str(), O_RDONLY | O_CLOEXEC));
    std::unique_ptr<PeakMemory> watch(new PeakMemory(std::move(status)));
    MIGRATE_ASSIGN(watch->thread_, Thread::start(
                                       "peak_memory",
                                       [raw = watch.get()](const std::stop_token& stop) {
                                           raw->run(stop);
                                           return Status();
                                       },
                                       [](const Error&) {}));
    return Result<std::unique_ptr<PeakMemory>>(std::move(watch));
}

void PeakMemory::run(const std::stop_token& stop) {
    MutexLock lock(mutex_);
    while (!stop.stop_requested()) {
        bytes_ = std::max(bytes_, high_water_bytes(status_.get()));
        ended_.pause(lock, stop, kPeakInterval);
    }
}

std::uint64_t PeakMemory::bytes() {
    const MutexLock lock(mutex_);
    return bytes_;
}

}  // namespace migrate::bench
