// SPDX-License-Identifier: Apache-2.0
#include "guest/external/thread_clocks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <system_error>

namespace migrate::guest {
namespace {

// The thread's id in its own PID namespace, which is the last one of NSpid (proc(5)).
std::optional<std::uint64_t> inner_id(const std::filesystem::path& task) {
    std::ifstream file(task / "status");
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with("NSpid:")) continue;
        std::istringstream ids(line.substr(line.find(':') + 1));
        std::optional<std::uint64_t> last;
        for (std::uint64_t id = 0; ids >> id;) last = id;
        return last;
    }
    return std::nullopt;
}

}  // namespace

ThreadClocks ThreadClocks::find(pid_t pid, std::span<const std::uint64_t> ids) {
    std::map<std::uint64_t, std::string> files;
    std::error_code failed;
    for (std::filesystem::directory_iterator task(fmt::format("/proc/{}/task", pid), failed), end;
         !failed && task != end; task.increment(failed)) {
        if (const auto id = inner_id(task->path())) files[*id] = task->path() / "schedstat";
    }
    ThreadClocks clocks;
    for (const std::uint64_t id : ids) {
        const auto file = files.find(id);
        if (file == files.end()) return {};
        clocks.files_.push_back(file->second);
    }
    return clocks;
}

std::optional<std::chrono::microseconds> ThreadClocks::cpu_time() const {
    if (files_.empty()) return std::nullopt;
    std::chrono::nanoseconds sum{};
    for (const std::string& path : files_) {
        // First field: time spent on a CPU, in ns (Documentation/scheduler/sched-stats).
        std::ifstream file(path);
        std::int64_t ran = 0;
        if (!(file >> ran)) return std::nullopt;
        sum += std::chrono::nanoseconds(ran);
    }
    return std::chrono::duration_cast<std::chrono::microseconds>(sum);
}

}  // namespace migrate::guest
